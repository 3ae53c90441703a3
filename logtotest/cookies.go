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

// resumePath is where a page leads when it is done. The resume cookie is limited to this path.
func resumePath(uid string) string { return "/oidc/auth/" + uid }

// setCookie sets a cookie and, beside it, a cookie for its signature. The signature is a constant
// and is never verified: a browser that changes its own cookies is no threat to a test.
//
// The lifetime is sent as Max-Age, because the server's clock may differ from the browser's
// clock. A negative lifetime deletes the cookie.
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

// setInteraction replaces the uid of the application and keeps the uids of other applications.
// So a sign-in disturbs another one of the same application only.
func setInteraction(w http.ResponseWriter, r *http.Request, appID, uid string) {
	uids := interactionsOf(r)
	uids[legacyInteraction], uids[appID] = uid, uid
	encoded, _ := json.Marshal(uids) // strings only
	// As encodeURIComponent does. It does not decode a plus sign to a space.
	value := strings.ReplaceAll(url.QueryEscape(string(encoded)), "+", "%20")
	setCookie(w, interactionCookie, value, "/", interactionLifetime)
}
