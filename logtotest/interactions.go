package logtotest

import (
	"cmp"
	"net/http"
	"net/url"
	"time"
)

// interaction is an authorization request that waits for a page.
type interaction struct {
	uid       string
	request   authorizationRequest
	expiresAt time.Time
	// session is the session when the interaction began, nil if nobody was signed in.
	session *session
	// hasSignedIn is set if an earlier page of the same request has asked for the password.
	hasSignedIn bool

	userID    string // who has signed in on its page
	consented bool
}

// startInteraction leads to the page of a prompt.
func (s *Server) startInteraction(r *http.Request, started interaction, missing prompt) reply {
	started.uid, started.expiresAt = randomToken(), s.Now().Add(interactionLifetime)
	s.mu.Lock()
	s.interactions[started.uid] = &started
	s.mu.Unlock()

	request := started.request
	page := "/sign-in"
	switch {
	case missing == promptConsent:
		page = "/consent"
	case request.startsWithRegistration():
		page = "/register"
	}
	location := page + "?app_id=" + url.QueryEscape(request.app.ID)
	for _, name := range []string{"organization_id", "login_hint", "identifier", "ui_locales", "one_time_token"} {
		if value := request.extra.Get(name); value != "" {
			location += "&" + name + "=" + url.QueryEscape(value)
		}
	}
	return func(w http.ResponseWriter) {
		setLogtoCookie(w, request.app.ID)
		setInteraction(w, r, request.app.ID, started.uid)
		setCookie(w, resumeCookie, started.uid, resumePath(started.uid), interactionLifetime)
		redirect(w, location)
	}
}

// currentInteraction returns the interaction that the pages of an application act for: the
// latest interaction of this browser, no matter which tab started it. It returns nil if the interaction or
// its session has ended.
func (s *Server) currentInteraction(r *http.Request) *interaction {
	uid := interactionsOf(r)[cmp.Or(r.URL.Query().Get("app_id"), legacyInteraction)]
	now := s.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.interactions[uid]
	if found == nil || now.After(found.expiresAt) {
		return nil
	}
	if found.session != nil && !s.lookUp(found.session) {
		return nil
	}
	return found
}

// interactionToResume returns a copy of the interaction. It changes nothing.
func (s *Server) interactionToResume(r *http.Request, v visit) (interaction, *oidcError) {
	uid := r.PathValue("uid")
	if cookie, err := r.Cookie(resumeCookie); err != nil || cookie.Value != uid {
		return interaction{}, sessionNotFound("authorization request has expired")
	}
	now := s.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.interactions[uid]
	if found == nil || now.After(found.expiresAt) {
		return interaction{}, sessionNotFound("interaction session not found")
	}
	if found.session != nil && found.session != v.session {
		return interaction{}, invalidRequest("interaction session and authentication session mismatch")
	}
	return *found, nil
}

func (s *Server) dropInteraction(uid string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.interactions, uid)
}

// sessionNotFound is an invalid_request to which Logto gives another code and message.
func sessionNotFound(description string) *oidcError {
	failure := invalidRequest(description)
	failure.Code, failure.Message = "session.not_found", "Session not found. Please go back and sign in again."
	return failure
}

// SetUnknownSessionRedirect sets Logto's "unknown session redirect URL": the address to which
// the sign-in pages redirect a browser whose sign-in has ended, for example because another tab has
// finished it. Default, and what "" restores: a page of the server that says "Session not found".
func (s *Server) SetUnknownSessionRedirect(address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unknownSessionRedirect = address
}

func (s *Server) redirectUnknownSession(w http.ResponseWriter) {
	s.mu.Lock()
	location := cmp.Or(s.unknownSessionRedirect, "/unknown-session")
	s.mu.Unlock()
	redirectWith(w, http.StatusFound, location)
}

func (s *Server) serveUnknownSession(w http.ResponseWriter, _ *http.Request) {
	showPage(w, http.StatusOK, "message.html", messagePage{Heading: "404 Not Found", Text: "Session not found"})
}
