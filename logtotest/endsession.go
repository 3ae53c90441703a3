package logtotest

import (
	"crypto/rand"
	"net/http"
	"net/url"
	"slices"
)

// logout is a sign-out that its page is about to confirm.
type logout struct {
	redirectURI, state string
}

// serveEndSession answers with a page that submits itself, as Logto's.
func (s *Server) serveEndSession(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	query := r.URL.Query()
	asked := &logout{}
	// Without either of these Logto ignores where to go afterwards.
	if query.Get("client_id") != "" || query.Get("id_token_hint") != "" {
		asked.redirectURI, asked.state = query.Get("post_logout_redirect_uri"), query.Get("state")
	}
	if clientID := query.Get("client_id"); clientID != "" && clientID != s.appID {
		writeError(w, http.StatusBadRequest, "invalid_client", "client is invalid")
		return
	}
	if asked.redirectURI != "" && !slices.Contains(s.postLogoutURIs, asked.redirectURI) {
		writeError(w, http.StatusBadRequest, "invalid_request", "post_logout_redirect_uri not registered")
		return
	}
	xsrf := rand.Text()
	s.logouts[xsrf] = asked
	writePage(w, http.StatusOK, "end-session", map[string]any{"Action": s.Issuer() + "/session/end/confirm", "XSRF": xsrf})
}

func (s *Server) serveEndSessionConfirm(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := s.logouts[r.PostFormValue("xsrf")]
	if asked == nil {
		writeError(w, http.StatusBadRequest, "invalid_request", "could not find logout details")
		return
	}
	delete(s.logouts, r.PostFormValue("xsrf"))
	if cookie, err := r.Cookie("_session"); err == nil && r.PostFormValue("logout") == "yes" {
		delete(s.sessions, cookie.Value)
	}
	http.SetCookie(w, &http.Cookie{Name: "_session", Path: "/", MaxAge: -1})
	if asked.redirectURI == "" {
		http.Redirect(w, r, s.Issuer()+"/session/end/success", http.StatusSeeOther)
		return
	}
	u, err := url.Parse(asked.redirectURI)
	if err != nil {
		writeError(w, http.StatusBadRequest, "invalid_request", "post_logout_redirect_uri cannot be parsed")
		return
	}
	if asked.state != "" {
		query := u.Query()
		query.Set("state", asked.state)
		u.RawQuery = query.Encode()
	}
	http.Redirect(w, r, u.String(), http.StatusSeeOther)
}

func (s *Server) serveSignedOutPage(w http.ResponseWriter, _ *http.Request) {
	writePage(w, http.StatusOK, "signed-out", nil)
}
