package logtotest

import (
	"cmp"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// pageInteraction answers the request and returns nil when no sign-in is under way: the page was
// bookmarked, or another tab has finished the sign-in.
func (s *Server) pageInteraction(w http.ResponseWriter, r *http.Request) *interaction {
	current := s.currentInteraction(r)
	switch {
	case current != nil:
	case r.Method == http.MethodPost:
		// At Logto the page stays and shows this text, because its call of an API fails.
		showPage(w, http.StatusBadRequest, "message.html", messagePage{
			Heading: "Session not found",
			Text:    "Go back to the app and sign in from there.",
		})
	default:
		s.redirectUnknownSession(w)
	}
	return current
}

func (s *Server) serveSignInPage(w http.ResponseWriter, r *http.Request) {
	current := s.pageInteraction(w, r)
	if user, ok := s.userByID(testUser(r)); current != nil && ok {
		if user.IsSuspended {
			showSuspended(w, r, user.Username)
			return
		}
		s.completeInteraction(w, r, current, user, "PostSignIn")
	} else if current != nil {
		showForm(w, r, http.StatusOK, "sign-in.html", formPage{Username: current.request.extra.Get("login_hint")})
	}
}

func (s *Server) serveSignIn(w http.ResponseWriter, r *http.Request) {
	current := s.pageInteraction(w, r)
	if current == nil {
		return
	}
	username := strings.TrimSpace(r.PostFormValue("username"))
	user, ok := s.userByIdentifier(username)
	if !ok || user.Password == "" || user.Password != r.PostFormValue("password") {
		showForm(w, r, http.StatusBadRequest, "sign-in.html", formPage{Username: username, Message: "The username or the password is not right."})
		return
	}
	if user.IsSuspended {
		showSuspended(w, r, username)
		return
	}
	s.completeInteraction(w, r, current, user, "PostSignIn")
}

func showSuspended(w http.ResponseWriter, r *http.Request, username string) {
	showForm(w, r, http.StatusForbidden, "sign-in.html", formPage{Username: username, Message: "This account is suspended."})
}

// completeInteraction goes on with a user, of whom webhooks are told first.
func (s *Server) completeInteraction(w http.ResponseWriter, r *http.Request, current *interaction, user User, event string) {
	now := s.Now()
	s.mu.Lock()
	current.userID = user.ID
	signedIn := lastSignIn{at: now, appID: s.signIns[user.ID].appID}
	s.signIns[user.ID] = signedIn
	s.mu.Unlock()
	s.sendInteractionWebhook(r, event, current, user)
	signedIn.appID = cmp.Or(signedIn.appID, current.request.app.ID)
	s.mu.Lock()
	s.signIns[user.ID] = signedIn
	s.mu.Unlock()
	redirect(w, resumePath(current.uid))
}

func (s *Server) serveRegisterPage(w http.ResponseWriter, r *http.Request) {
	if testUser(r) != "" {
		s.serveSignInPage(w, r)
	} else if current := s.pageInteraction(w, r); current != nil {
		var page formPage
		if hint := current.request.extra.Get("login_hint"); strings.Contains(hint, "@") {
			page.Email = hint
		} else {
			page.Username = hint
		}
		showForm(w, r, http.StatusOK, "register.html", page)
	}
}

// usernameForm is Logto's rule for usernames.
var usernameForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func (s *Server) serveRegister(w http.ResponseWriter, r *http.Request) {
	current := s.pageInteraction(w, r)
	if current == nil {
		return
	}
	now := s.Now()
	user := User{
		Username:  strings.TrimSpace(r.PostFormValue("username")),
		Password:  r.PostFormValue("password"),
		Name:      strings.TrimSpace(r.PostFormValue("name")),
		Email:     strings.TrimSpace(r.PostFormValue("email")),
		CreatedAt: now,
		UpdatedAt: now,
	}
	if message := s.registrationProblem(user); message != "" {
		showForm(w, r, http.StatusBadRequest, "register.html", formPage{Username: user.Username, Name: user.Name, Email: user.Email, Message: message})
		return
	}
	user = s.AddUser(user)
	s.completeInteraction(w, r, current, user, "PostRegister")
}

func (s *Server) serveConsentPage(w http.ResponseWriter, r *http.Request) {
	current := s.consentInteraction(w, r)
	if current == nil {
		return
	}
	if !s.registered(current.request.app).allows(current.session.userID) {
		showPage(w, http.StatusOK, "message.html", messagePage{
			Heading: "Access denied",
			Text:    "Your account has no access to this app.",
			SignOut: "/oidc/session/end?client_id=" + url.QueryEscape(current.request.app.ID),
		})
		return
	}
	if !current.request.app.ThirdParty || testUser(r) != "" {
		s.consent(w, current, http.StatusFound)
		return
	}
	user, _ := s.userByID(current.session.userID)
	showPage(w, http.StatusOK, "consent.html", consentPage{
		Query: linkQuery(r), Application: current.request.app.ID, User: cmp.Or(user.Name, user.Username, user.ID), Scopes: current.request.scopes,
	})
}

func (s *Server) serveConsent(w http.ResponseWriter, r *http.Request) {
	current := s.consentInteraction(w, r)
	switch {
	case current == nil:
	case !s.registered(current.request.app).allows(current.session.userID):
		writeError(w, accessDenied())
	case r.PostFormValue("answer") == "allow":
		s.consent(w, current, http.StatusSeeOther)
	default:
		// As at Logto: no code, no error, not even the state.
		s.dropInteraction(current.uid)
		redirect(w, current.request.redirectURI)
	}
}

// consentInteraction refuses an interaction in which nobody is signed in. Another tab may have
// started it after this tab was led to the consent page.
func (s *Server) consentInteraction(w http.ResponseWriter, r *http.Request) *interaction {
	current := s.pageInteraction(w, r)
	if current != nil && current.session == nil {
		writeError(w, sessionNotFound("interaction session not found"))
		return nil
	}
	return current
}

func (s *Server) consent(w http.ResponseWriter, current *interaction, status int) {
	s.mu.Lock()
	current.consented = true
	s.mu.Unlock()
	redirectWith(w, status, resumePath(current.uid))
}

func (s *Server) registrationProblem(user User) string {
	if !usernameForm.MatchString(user.Username) {
		return "A username has letters, digits and underscores only, and does not start with a digit."
	}
	if user.Password == "" {
		return "Choose a password."
	}
	if _, taken := s.userByIdentifier(user.Username); taken {
		return "That username is taken."
	}
	if _, taken := s.userByIdentifier(user.Email); taken {
		return "There is an account with that e-mail address."
	}
	return ""
}

func (s *Server) serveSignedOutPage(w http.ResponseWriter, _ *http.Request) {
	showPage(w, http.StatusOK, "message.html", messagePage{
		Heading: "You are signed out",
		Text:    "You can close this page.",
	})
}

// serveNoIcon keeps the console of browsers clean: they ask for the icon of any page.
func serveNoIcon(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }
