package logtotest

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"
)

//go:embed templates/*.html
var templateFiles embed.FS

var templates = template.Must(template.ParseFS(templateFiles, "templates/*.html"))

// formPage is what the sign-in and registration pages show.
type formPage struct {
	Title, Message, Username, Name, Email string
}

func (s *Server) serveSignInPage(w http.ResponseWriter, r *http.Request) {
	s.servePage(w, r, "sign-in", "Sign in", func(r *http.Request) (User, string) {
		user, ok := s.userByName(r.PostFormValue("username"))
		if !ok || user.Password != r.PostFormValue("password") {
			return User{}, "Wrong username or password."
		}
		return user, ""
	})
}

func (s *Server) serveRegisterPage(w http.ResponseWriter, r *http.Request) {
	s.servePage(w, r, "register", "Create account", func(r *http.Request) (User, string) {
		username, password := r.PostFormValue("username"), r.PostFormValue("password")
		if username == "" || password == "" {
			return User{}, "Username and password are needed."
		}
		if _, taken := s.userByName(username); taken {
			return User{}, "This username is taken."
		}
		return s.addUser(User{
			Username: username, Password: password,
			Name: r.PostFormValue("name"), Email: r.PostFormValue("email"),
			CreatedAt: s.now(), UpdatedAt: s.now(),
		}), ""
	})
}

// servePage shows a form, and goes on with the interaction once submit returns
// a user and no complaint.
func (s *Server) servePage(w http.ResponseWriter, r *http.Request, name, title string, submit func(*http.Request) (User, string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var current *interaction
	if cookie, err := r.Cookie("_interaction"); err == nil {
		current = s.interactions[cookie.Value]
	}
	if current == nil || s.now().After(current.expires) {
		writePage(w, http.StatusBadRequest, "expired", nil)
		return
	}
	page := formPage{Title: title, Username: current.loginHint}
	status := http.StatusOK
	if r.Method == http.MethodPost {
		user, complaint := submit(r)
		if complaint == "" {
			current.user, current.authTime = user.ID, s.now()
			http.Redirect(w, r, "/oidc/auth/"+current.id, http.StatusSeeOther)
			return
		}
		status = http.StatusBadRequest
		page = formPage{title, complaint, r.PostFormValue("username"), r.PostFormValue("name"), r.PostFormValue("email")}
	}
	writePage(w, status, name, page)
}

func writePage(w http.ResponseWriter, status int, name string, data any) {
	var page bytes.Buffer
	if err := templates.ExecuteTemplate(&page, name, data); err != nil {
		http.Error(w, "logtotest: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(page.Bytes())
}
