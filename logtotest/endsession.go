package logtotest

import (
	"net/http"
	"net/url"
	"slices"
)

// logout is a sign-out that waits for the browser to submit the form that it
// was given.
type logout struct {
	session  *session
	location string
}

func (s *Server) serveEndSession(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		writeError(w, invalidRequest("failed to parse the request"))
		return
	}
	location, failure := s.postLogoutLocation(r.Form)
	if failure != nil {
		writeError(w, failure)
		return
	}
	xsrf := randomToken()
	current := s.readVisit(r).signedIn()
	s.mu.Lock()
	s.logouts[xsrf] = logout{session: current, location: location}
	s.mu.Unlock()
	if isTestBrowser(r) {
		// It runs no JavaScript, by which the page would submit its form.
		r.PostForm = url.Values{"xsrf": {xsrf}, "logout": {"yes"}}
		s.serveEndSessionConfirm(w, r)
		return
	}
	action := askedBase(r) + "/oidc/session/end/confirm"
	if current == nil {
		showPage(w, http.StatusOK, "submit.html", submitPage{Action: action, Parameters: url.Values{"xsrf": {xsrf}, "logout": {"yes"}}})
		return
	}
	showPage(w, http.StatusOK, "sign-out.html", signOutPage{Action: action, XSRF: xsrf})
}

// postLogoutLocation checks everything before the user is asked for anything:
// an error ends no session.
func (s *Server) postLogoutLocation(form url.Values) (string, *oidcError) {
	clientID := form.Get("client_id")
	if form.Has("id_token_hint") {
		hint, failure := s.checkHint(form.Get("id_token_hint"))
		if failure != nil {
			return "", failure
		}
		if clientID != "" && clientID != hint.Audience {
			return "", invalidRequest("client_id does not match the provided id_token_hint")
		}
		clientID = hint.Audience
	}
	if clientID == "" {
		return "/oidc/session/end/success", nil
	}
	app, failure := s.knownClient(clientID)
	if failure != nil {
		return "", failure
	}
	target := form.Get("post_logout_redirect_uri")
	if target == "" {
		return "/oidc/session/end/success?client_id=" + url.QueryEscape(clientID), nil
	}
	if !slices.Contains(app.PostLogoutRedirectURIs, target) {
		return "", invalidRequest("post_logout_redirect_uri not registered")
	}
	if state := form.Get("state"); state != "" {
		target = withQuery(target, url.Values{"state": {state}})
	}
	return target, nil
}

func (s *Server) serveEndSessionConfirm(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		writeError(w, invalidRequest("failed to parse the request body"))
		return
	}
	current := s.readVisit(r).signedIn()
	xsrf := r.PostForm.Get("xsrf")
	s.mu.Lock()
	confirmed, ok := s.logouts[xsrf]
	ok = ok && confirmed.session == current
	if ok {
		delete(s.logouts, xsrf)
	}
	s.mu.Unlock()
	if !ok {
		writeError(w, invalidRequest("could not find logout details"))
		return
	}
	if r.PostForm.Has("logout") {
		if current != nil {
			s.endSession(current)
		}
		clearCookie(w, sessionCookie, "/")
	}
	redirect(w, confirmed.location)
}
