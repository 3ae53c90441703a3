package logtotest

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	sessionCookie     = "_session"
	interactionCookie = "_interaction"
	resumeCookie      = "_interaction_resume"

	// legacyInteraction is the member of the interaction cookie for requests that name no
	// application.
	legacyInteraction = "_legacy"

	sessionLifetime     = 14 * 24 * time.Hour
	interactionLifetime = time.Hour
)

// resumePath is where an interaction leads when it is done. The resume cookie has this path.
func resumePath(uid string) string { return "/oidc/auth/" + uid }

// setCookie sets a cookie and the signature beside it. The signature says nothing, and no
// request is checked for it: a browser that changes its own cookies is no threat to a test.
//
// The lifetime is relative, because the server's clock need not be the browser's. A negative
// one deletes the cookie, and 0 is the life of the browser.
func setCookie(w http.ResponseWriter, name, value, path string, lifetime time.Duration) {
	for _, c := range [][2]string{{name, value}, {name + ".sig", "unsigned"}} {
		http.SetCookie(w, &http.Cookie{
			Name: c[0], Value: c[1], Path: path, MaxAge: int(lifetime / time.Second), SameSite: http.SameSiteLaxMode, HttpOnly: true,
		})
	}
}

func clearCookie(w http.ResponseWriter, name, path string) {
	setCookie(w, name, "", path, -time.Second)
}

// setLogtoCookie writes the header by hand, because http.SetCookie would drop
// the raw double quotes that Logto's cookie is known for.
func setLogtoCookie(w http.ResponseWriter, appID string) {
	const attributes = "; Path=/; HttpOnly; SameSite=Lax"
	w.Header().Add("Set-Cookie", `_logto={"appId":"`+appID+`"}`+attributes)
	w.Header().Add("Set-Cookie", "_logto.sig=unsigned"+attributes)
}

// interactionsOf reads the cookie with one uid for each application.
func interactionsOf(r *http.Request) map[string]string {
	uids := map[string]string{}
	if cookie, err := r.Cookie(interactionCookie); err == nil {
		if decoded, err := url.PathUnescape(cookie.Value); err == nil {
			_ = json.Unmarshal([]byte(decoded), &uids) // what cannot be read names no interaction
		}
	}
	if uids == nil { // the cookie is "null"
		uids = map[string]string{}
	}
	return uids
}

// setInteraction replaces the application's uid and leaves those of the others alone, so that
// only sign-ins to different applications do not disturb each other.
func setInteraction(w http.ResponseWriter, r *http.Request, appID, uid string) {
	uids := interactionsOf(r)
	uids[legacyInteraction], uids[appID] = uid, uid
	encoded, _ := json.Marshal(uids) // strings only
	// As encodeURIComponent: a plus sign would stay one.
	value := strings.ReplaceAll(url.QueryEscape(string(encoded)), "+", "%20")
	setCookie(w, interactionCookie, value, "/", interactionLifetime)
}
