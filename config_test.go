package logtogin_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
)

// goodConfig is complete and refused by nothing.
func goodConfig() logtogin.Config {
	return logtogin.Config{
		Endpoint:  "https://tenant.logto.app",
		AppID:     "app-id-of-21-letters.",
		AppSecret: strings.Repeat("a", 32),
		BaseURL:   "https://app.example.com",
		Secrets:   []string{strings.Repeat("s", 32)},
		Logger:    slog.New(slog.DiscardHandler),
	}
}

// closed closes an Auth when the test is over.
func closed(t *testing.T, auth *logtogin.Auth) *logtogin.Auth {
	t.Helper()
	t.Cleanup(func() {
		if err := auth.Close(); err != nil {
			t.Error(err)
		}
	})
	return auth
}

// registered reports what Register makes of a Config; a panic fails the test.
func registered(t *testing.T, router gin.IRouter, cfg logtogin.Config) error {
	t.Helper()
	defer func() {
		if reason := recover(); reason != nil {
			t.Errorf("it panics: %v", reason)
		}
	}()
	auth, err := logtogin.Register(router, cfg)
	if err == nil {
		closed(t, auth)
	} else if auth != nil {
		t.Error("there is an Auth beside the error")
	}
	return err
}

func wantConfigError(t *testing.T, err error, field, advice string) {
	t.Helper()
	var mistake *logtogin.ConfigError
	if !errors.As(err, &mistake) {
		t.Fatalf("the error is %v (%T), want a *ConfigError about %s", err, err, field)
	}
	if mistake.Field != field {
		t.Errorf("the field is %q, want %q: %v", mistake.Field, field, err)
	}
	if !strings.Contains(mistake.Problem, advice) {
		t.Errorf("the error %q does not say %q", mistake.Problem, advice)
	}
	if !strings.HasPrefix(err.Error(), "logtogin: Config."+field+" ") {
		t.Errorf("the text is %q", err)
	}
}

func TestEveryMistakeInAConfigIsNamedWithWhatToDo(t *testing.T) {
	t.Parallel()
	type config = logtogin.Config
	type options = logtogin.SignInOptions
	for name, test := range map[string]struct {
		change func(*logtogin.Config)
		field  string
		advice string
	}{
		"an Endpoint is missing":                   {func(c *config) { c.Endpoint = "" }, "Endpoint", "copy the Logto endpoint"},
		"an Endpoint has no scheme":                {func(c *config) { c.Endpoint = "tenant.logto.app" }, "Endpoint", "copy the Logto endpoint"},
		"an Endpoint is a path":                    {func(c *config) { c.Endpoint = "/logto" }, "Endpoint", "copy the Logto endpoint"},
		"an Endpoint has a scheme but no host":     {func(c *config) { c.Endpoint = "https://" }, "Endpoint", "copy the Logto endpoint"},
		"an Endpoint has a port but no host":       {func(c *config) { c.Endpoint = "https://:443" }, "Endpoint", "copy the Logto endpoint"},
		"an Endpoint is relative to a scheme":      {func(c *config) { c.Endpoint = "//tenant.logto.app" }, "Endpoint", "copy the Logto endpoint"},
		"an Endpoint is ftp":                       {func(c *config) { c.Endpoint = "ftp://tenant.logto.app" }, "Endpoint", "https"},
		"an Endpoint is http on a public host":     {func(c *config) { c.Endpoint = "http://tenant.logto.app" }, "Endpoint", "only a loopback host may do without https"},
		"an Endpoint is http in a private network": {func(c *config) { c.Endpoint = "http://10.0.0.1" }, "Endpoint", "only a loopback host may do without https"},
		"an Endpoint only looks like localhost":    {func(c *config) { c.Endpoint = "http://localhost.example.com" }, "Endpoint", "only a loopback host may do without https"},
		"an Endpoint only ends like localhost":     {func(c *config) { c.Endpoint = "http://evillocalhost" }, "Endpoint", "only a loopback host may do without https"},
		"an Endpoint is any address":               {func(c *config) { c.Endpoint = "http://0.0.0.0:3001" }, "Endpoint", "only a loopback host may do without https"},
		"an Endpoint is an IPv6 link":              {func(c *config) { c.Endpoint = "http://[fe80::1]:3001" }, "Endpoint", "only a loopback host may do without https"},
		"an Endpoint is the issuer":                {func(c *config) { c.Endpoint += "/oidc" }, "Endpoint", "leave that part and what follows out"},
		"an Endpoint is the issuer with a slash":   {func(c *config) { c.Endpoint += "/oidc/" }, "Endpoint", "leave that part and what follows out"},
		"an Endpoint is the discovery document":    {func(c *config) { c.Endpoint += "/oidc/.well-known/openid-configuration" }, "Endpoint", "leave that part and what follows out"},
		"an Endpoint with a path is the issuer":    {func(c *config) { c.Endpoint += "/tenant/oidc" }, "Endpoint", "leave that part and what follows out"},
		"an Endpoint has a query":                  {func(c *config) { c.Endpoint += "?tenant=x" }, "Endpoint", "remove it"},
		"an Endpoint has an empty query":           {func(c *config) { c.Endpoint += "?" }, "Endpoint", "remove it"},
		"an Endpoint has a fragment":               {func(c *config) { c.Endpoint += "#x" }, "Endpoint", "remove it"},
		"an Endpoint holds a password":             {func(c *config) { c.Endpoint = "https://u:hunter2@tenant.logto.app" }, "Endpoint", "remove it"},
		"an Endpoint has dot segments":             {func(c *config) { c.Endpoint += "/a/../b" }, "Endpoint", "remove it"},
		"an Endpoint has empty segments":           {func(c *config) { c.Endpoint += "//b" }, "Endpoint", "remove them"},
		"an Endpoint has a space at the end":       {func(c *config) { c.Endpoint += " " }, "Endpoint", "copy the Logto endpoint"},
		"an Endpoint has a line break at the end":  {func(c *config) { c.Endpoint += "\n" }, "Endpoint", "copy the Logto endpoint"},
		"an AppID is missing":                      {func(c *config) { c.AppID = "" }, "AppID", "copy the App ID"},
		"an AppID has a line break at the end":     {func(c *config) { c.AppID += "\n" }, "AppID", "remove it"},
		"an AppSecret has a line break at the end": {func(c *config) { c.AppSecret += "\n" }, "AppSecret", "remove it"},
		"neither AppSecret nor Secrets are there":  {func(c *config) { c.AppSecret, c.Secrets = "", nil }, "AppSecret", "set Secrets for a public client"},
		"an AppSecret is too short to derive from": {func(c *config) { c.AppSecret, c.Secrets = "hunter2", nil }, "AppSecret", "set Secrets"},
		"an AppSecret is one byte short":           {func(c *config) { c.AppSecret, c.Secrets = strings.Repeat("a", 15), nil }, "AppSecret", "set Secrets"},
		"a secret is one byte short":               {func(c *config) { c.Secrets = []string{strings.Repeat("s", 31)} }, "Secrets", "openssl rand -base64 48"},
		"a second secret is short":                 {func(c *config) { c.Secrets = append(c.Secrets, "hunter2") }, "Secrets", "position 1"},
		"a secret is empty":                        {func(c *config) { c.Secrets = []string{""} }, "Secrets", "openssl rand -base64 48"},
		"a previous AppSecret is short":            {func(c *config) { c.PreviousAppSecrets = []string{"hunter2"} }, "PreviousAppSecrets", "remove it"},
		"only a previous AppSecret is there": {func(c *config) {
			c.AppSecret, c.Secrets, c.PreviousAppSecrets = "", nil, []string{strings.Repeat("p", 32)}
		}, "PreviousAppSecrets", "set AppSecret or Secrets"},
		"a BaseURL is missing":                       {func(c *config) { c.BaseURL = "" }, "BaseURL", "give the address that users have in their browser"},
		"a BaseURL is a host":                        {func(c *config) { c.BaseURL = "app.example.com" }, "BaseURL", "give the address that users have in their browser"},
		"a BaseURL is a path":                        {func(c *config) { c.BaseURL = "/app" }, "BaseURL", "give the address that users have in their browser"},
		"a BaseURL is ftp":                           {func(c *config) { c.BaseURL = "ftp://app.example.com" }, "BaseURL", "https"},
		"a BaseURL is http on a public host":         {func(c *config) { c.BaseURL = "http://app.example.com" }, "BaseURL", "only a loopback host may do without https"},
		"a BaseURL is http on a host of digits":      {func(c *config) { c.BaseURL = "http://127.0.0.1.example.com" }, "BaseURL", "only a loopback host may do without https"},
		"a BaseURL has a query":                      {func(c *config) { c.BaseURL += "/?x=1" }, "BaseURL", "remove it"},
		"a BaseURL has a fragment":                   {func(c *config) { c.BaseURL += "/#x" }, "BaseURL", "remove it"},
		"a BaseURL has an empty fragment":            {func(c *config) { c.BaseURL += "#" }, "BaseURL", "remove it"},
		"a BaseURL has a user":                       {func(c *config) { c.BaseURL = "https://me@app.example.com" }, "BaseURL", "remove it"},
		"a BaseURL has a password":                   {func(c *config) { c.BaseURL = "https://me:hunter2@app.example.com" }, "BaseURL", "remove it"},
		"a BaseURL has dot segments":                 {func(c *config) { c.BaseURL += "/a/.." }, "BaseURL", "remove it"},
		"a BaseURL has encoded dot segments":         {func(c *config) { c.BaseURL += "/a/%2e%2e/b" }, "BaseURL", "remove it"},
		"a scope is empty":                           {func(c *config) { c.Scopes = []string{""} }, "Scopes", "as an element of its own"},
		"a scope is two":                             {func(c *config) { c.Scopes = []string{"email phone"} }, "Scopes", "as an element of its own"},
		"a scope is two with a tab":                  {func(c *config) { c.Scopes = []string{"email\tphone"} }, "Scopes", "as an element of its own"},
		"a scope is two with a comma":                {func(c *config) { c.Scopes = []string{"email", "phone,roles"} }, "Scopes", `"phone,roles"`},
		"a scope has a quotation mark":               {func(c *config) { c.Scopes = []string{`"email"`} }, "Scopes", "as an element of its own"},
		"a scope has a backslash":                    {func(c *config) { c.Scopes = []string{`a\b`} }, "Scopes", "as an element of its own"},
		"a scope is not ASCII":                       {func(c *config) { c.Scopes = []string{"émail"} }, "Scopes", "as an element of its own"},
		"reserved scopes are omitted without openid": {func(c *config) { c.OmitReservedScopes, c.Scopes = true, []string{"profile", "email"} }, "Scopes", "add it or unset OmitReservedScopes"},
		"reserved scopes are omitted without any":    {func(c *config) { c.OmitReservedScopes = true }, "Scopes", "add it or unset OmitReservedScopes"},
		"a resource is empty":                        {func(c *config) { c.Resources = []string{""} }, "Resources", "copy the API identifier"},
		"a resource is relative":                     {func(c *config) { c.Resources = []string{"/api"} }, "Resources", "copy the API identifier"},
		"a resource is a host":                       {func(c *config) { c.Resources = []string{"api.example.com/v1"} }, "Resources", "copy the API identifier"},
		"a resource has a fragment":                  {func(c *config) { c.Resources = []string{"https://api.example.com/#v1"} }, "Resources", "copy the API identifier"},
		"a resource has an empty fragment":           {func(c *config) { c.Resources = []string{"https://api.example.com/#"} }, "Resources", "copy the API identifier"},
		"a resource is two with a comma":             {func(c *config) { c.Resources = []string{"https://a.example,https://b.example"} }, "Resources", "takes for two"},
		"a second resource is bad":                   {func(c *config) { c.Resources = []string{"https://a.example", "b"} }, "Resources", `"b"`},
		"a prompt is unknown":                        {func(c *config) { c.Prompt = "select_account" }, "Prompt", "use one of the Prompt constants"},
		"a prompt is two in the other order":         {func(c *config) { c.Prompt = "consent login" }, "Prompt", "use one of the Prompt constants"},
		"a prompt is in upper case":                  {func(c *config) { c.Prompt = "Consent" }, "Prompt", "use one of the Prompt constants"},
		"a default prompt is unknown":                {func(c *config) { c.SignInDefaults = options{Prompt: "create"} }, "SignInDefaults", "Prompt"},
		"a default first screen is unknown":          {func(c *config) { c.SignInDefaults = options{FirstScreen: "signIn"} }, "SignInDefaults", "use one of its constants"},
		"a default identifier is unknown":            {func(c *config) { c.SignInDefaults = options{Identifiers: []logtogin.Identifier{"email", "mail"}} }, "SignInDefaults", "Identifiers"},
		"a default direct sign-in has no kind":       {func(c *config) { c.SignInDefaults = options{DirectSignIn: "google"} }, "SignInDefaults", `write "social:<target>"`},
		"a default direct sign-in has no target":     {func(c *config) { c.SignInDefaults = options{DirectSignIn: "social:"} }, "SignInDefaults", `write "social:<target>"`},
		"a default language has an underscore":       {func(c *config) { c.SignInDefaults = options{UILocales: []string{"en_GB"}} }, "SignInDefaults", "UILocales"},
		"a default organization has a space":         {func(c *config) { c.SignInDefaults = options{OrganizationID: "a b"} }, "SignInDefaults", "OrganizationID"},
		"a default organization narrows permissions": {func(c *config) {
			c.Resources, c.SignInDefaults = []string{"https://orders.example.com/"}, options{OrganizationID: "acme"}
		}, "SignInDefaults", "set OrganizationNarrowsPermissions"},
		"a default magic link has no hint":             {func(c *config) { c.SignInDefaults = options{OneTimeToken: "t"} }, "SignInDefaults", "OneTimeToken needs LoginHint"},
		"a default max age is negative":                {func(c *config) { c.SignInDefaults = options{MaxAge: -time.Second} }, "SignInDefaults", "MaxAge"},
		"a default max age is half a second":           {func(c *config) { c.SignInDefaults = options{MaxAge: 500 * time.Millisecond} }, "SignInDefaults", "MaxAge"},
		"a default extra parameter is the protocol's":  {func(c *config) { c.SignInDefaults = options{ExtraParams: map[string]string{"state": "x"}} }, "SignInDefaults", `ExtraParams cannot set "state"`},
		"a default return path is elsewhere":           {func(c *config) { c.SignInDefaults = options{ReturnTo: "https://evil.example"} }, "SignInDefaults.ReturnTo", `begins with "/"`},
		"a default return path has two slashes":        {func(c *config) { c.SignInDefaults = options{ReturnTo: "//evil.example"} }, "SignInDefaults.ReturnTo", `begins with "/"`},
		"a default redirect URI is http":               {func(c *config) { c.SignInDefaults = options{RedirectURI: "http://app.example.com/callback"} }, "SignInDefaults.RedirectURI", "or its path"},
		"a default redirect URI is no path":            {func(c *config) { c.SignInDefaults = options{RedirectURI: "callback"} }, "SignInDefaults.RedirectURI", "or its path"},
		"AfterSignIn is another site":                  {func(c *config) { c.AfterSignIn = "https://evil.example/" }, "AfterSignIn", `begins with "/"`},
		"AfterSignIn is this site's address":           {func(c *config) { c.AfterSignIn = "https://app.example.com/home" }, "AfterSignIn", `begins with "/"`},
		"AfterSignIn has two slashes":                  {func(c *config) { c.AfterSignIn = "//evil.example" }, "AfterSignIn", `begins with "/"`},
		"AfterSignIn has a backslash":                  {func(c *config) { c.AfterSignIn = `/\evil.example` }, "AfterSignIn", `begins with "/"`},
		"AfterSignIn has no slash":                     {func(c *config) { c.AfterSignIn = "home" }, "AfterSignIn", `begins with "/"`},
		"AfterSignOut is ftp":                          {func(c *config) { c.AfterSignOut = "ftp://app.example.com" }, "AfterSignOut", "an absolute https URL"},
		"AfterSignOut is http on a public host":        {func(c *config) { c.AfterSignOut = "http://app.example.com" }, "AfterSignOut", "an absolute https URL"},
		"AfterSignOut is a script":                     {func(c *config) { c.AfterSignOut = "javascript:alert(1)" }, "AfterSignOut", "an absolute https URL"},
		"AfterSignOut has two slashes":                 {func(c *config) { c.AfterSignOut = "//evil.example" }, "AfterSignOut", `begins with "/"`},
		"AfterSignOut has a user":                      {func(c *config) { c.AfterSignOut = "https://app.example.com@evil.example/" }, "AfterSignOut", "an absolute https URL"},
		"AfterSignOut has a fragment":                  {func(c *config) { c.AfterSignOut = "https://app.example.com/#bye" }, "AfterSignOut", "an absolute https URL"},
		"a path has no slash":                          {func(c *config) { c.Paths.SignIn = "login" }, "Paths.SignIn", `begins with "/"`},
		"a path has two slashes":                       {func(c *config) { c.Paths.SignIn = "//login" }, "Paths.SignIn", `"-" to leave the route out`},
		"a path has dot segments":                      {func(c *config) { c.Paths.SignIn = "/a/../login" }, "Paths.SignIn", `"-" to leave the route out`},
		"a path has a space":                           {func(c *config) { c.Paths.SignUp = "/sign up" }, "Paths.SignUp", `"-" to leave the route out`},
		"a path has a parameter":                       {func(c *config) { c.Paths.SignUp = "/:kind/sign-up" }, "Paths.SignUp", `"-" to leave the route out`},
		"a path has a catch-all":                       {func(c *config) { c.Paths.Callback = "/callback/*rest" }, "Paths.Callback", `"-" to leave the route out`},
		"a path has a query":                           {func(c *config) { c.Paths.Callback = "/callback?x" }, "Paths.Callback", `"-" to leave the route out`},
		"a path has a fragment":                        {func(c *config) { c.Paths.SignOut = "/sign-out#x" }, "Paths.SignOut", `"-" to leave the route out`},
		"a path is percent-encoded":                    {func(c *config) { c.Paths.SignOut = "/sign%2Dout" }, "Paths.SignOut", `"-" to leave the route out`},
		"a path is an address":                         {func(c *config) { c.Paths.Callback = "https://app.example.com/callback" }, "Paths.Callback", `"-" to leave the route out`},
		"two paths are the same":                       {func(c *config) { c.Paths.SignIn, c.Paths.SignUp = "/enter", "/enter" }, "Paths.SignUp", "give each route a path of its own"},
		"a path is another one's default":              {func(c *config) { c.Paths.SignIn = "/sign-out" }, "Paths.SignOut", "give each route a path of its own"},
		"the callback is left out":                     {func(c *config) { c.Paths.Callback = "-" }, "Paths.Callback", "set SignInDefaults.RedirectURI"},
		"a lifetime is negative":                       {func(c *config) { c.SessionLifetime = -time.Hour }, "SessionLifetime", "give a time between"},
		"a lifetime is shorter than a second":          {func(c *config) { c.SessionLifetime = time.Second - 1 }, "SessionLifetime", "give a time between"},
		"a lifetime is longer than browsers keep it":   {func(c *config) { c.SessionLifetime = 400*24*time.Hour + 1 }, "SessionLifetime", "give a time between"},
		"a lifetime is longer than stores keep it":     {func(c *config) { c.Store, c.SessionLifetime = newServerStore(), 30*24*time.Hour+1 }, "SessionLifetime", "leave Store empty"},
		"an idle time-out is short":                    {func(c *config) { c.IdleTimeout = 9 * time.Second }, "IdleTimeout", "give 10s or more"},
		"an idle time-out is negative":                 {func(c *config) { c.IdleTimeout = -time.Hour }, "IdleTimeout", "0 for none"},
		"a store time-out is negative":                 {func(c *config) { c.StoreTimeout = -1 }, "StoreTimeout", "give a time between"},
		"a store time-out is long":                     {func(c *config) { c.StoreTimeout = time.Hour }, "StoreTimeout", "give a time between"},
		"a clock skew is negative":                     {func(c *config) { c.ClockSkew = -1 }, "ClockSkew", "give a time of up to 5m0s"},
		"a clock skew is more than five minutes":       {func(c *config) { c.ClockSkew = 5*time.Minute + 1 }, "ClockSkew", "give a time of up to 5m0s"},
		"C70: __Host- has a Domain":                    {func(c *config) { c.Cookies = logtogin.CookieOptions{Name: "__Host-x", Domain: "app.example.com"} }, "Cookies.Name", "choose another name"},
		"C70: __Host- has a Path":                      {func(c *config) { c.Cookies = logtogin.CookieOptions{Name: "__Host-x", Path: "/callback"} }, "Cookies.Name", "choose another name"},
		"C70: __Host- is on http":                      {func(c *config) { c.BaseURL, c.Cookies.Name = "http://localhost:8080", "__Host-x" }, "Cookies.Name", "choose another name"},
		"C70: __Secure- is on http":                    {func(c *config) { c.BaseURL, c.Cookies.Name = "http://127.0.0.1:8080", "__Secure-x" }, "Cookies.Name", "choose another name"},
		"a cookie name has a semicolon":                {func(c *config) { c.Cookies.Name = "a;b" }, "Cookies.Name", "letters, digits, hyphens and underscores"},
		"a cookie name has an equals sign":             {func(c *config) { c.Cookies.Name = "a=b" }, "Cookies.Name", "letters, digits, hyphens and underscores"},
		"a cookie name has 23 letters":                 {func(c *config) { c.Cookies.Name = strings.Repeat("a", 23) }, "Cookies.Name", "up to 22 letters"},
		"a cookie path has no slash":                   {func(c *config) { c.Cookies.Path = "app" }, "Cookies.Path", `begins with "/"`},
		"a cookie path has a semicolon":                {func(c *config) { c.Cookies.Path = "/;Domain=evil.example" }, "Cookies.Path", `begins with "/"`},
		"a cookie path is not above the callback":      {func(c *config) { c.Cookies.Path = "/call" }, "Cookies.Path", "choose a path above all routes"},
		"a cookie domain is another site's":            {func(c *config) { c.Cookies.Domain = "example.org" }, "Cookies.Domain", "give that host or a parent domain"},
		"a cookie domain only ends alike":              {func(c *config) { c.Cookies.Domain = "ple.com" }, "Cookies.Domain", "give that host or a parent domain"},
		"a cookie domain is a subdomain":               {func(c *config) { c.Cookies.Domain = "www.app.example.com" }, "Cookies.Domain", "give that host or a parent domain"},
		"a cookie domain has a port":                   {func(c *config) { c.Cookies.Domain = "app.example.com:443" }, "Cookies.Domain", "give the name of a host"},
		"a trusted origin has a path":                  {func(c *config) { c.TrustedOrigins = []string{"https://www.example.com/app"} }, "TrustedOrigins", "write scheme and host as browsers do"},
		"a trusted origin has a slash at the end":      {func(c *config) { c.TrustedOrigins = []string{"https://www.example.com/"} }, "TrustedOrigins", "write scheme and host as browsers do"},
		"a trusted origin has a query":                 {func(c *config) { c.TrustedOrigins = []string{"https://www.example.com?x"} }, "TrustedOrigins", "write scheme and host as browsers do"},
		"a trusted origin has a fragment":              {func(c *config) { c.TrustedOrigins = []string{"https://www.example.com#x"} }, "TrustedOrigins", "write scheme and host as browsers do"},
		"a trusted origin has a user":                  {func(c *config) { c.TrustedOrigins = []string{"https://me@www.example.com"} }, "TrustedOrigins", "write scheme and host as browsers do"},
		"a trusted origin is a host":                   {func(c *config) { c.TrustedOrigins = []string{"www.example.com"} }, "TrustedOrigins", "write scheme and host as browsers do"},
		"a trusted origin is null":                     {func(c *config) { c.TrustedOrigins = []string{"null"} }, "TrustedOrigins", "write scheme and host as browsers do"},
		"a trusted origin is every origin":             {func(c *config) { c.TrustedOrigins = []string{"*"} }, "TrustedOrigins", "write scheme and host as browsers do"},
		"a second trusted origin is bad":               {func(c *config) { c.TrustedOrigins = []string{"https://a.example", "https://b.example/x"} }, "TrustedOrigins", `"https://b.example/x"`},
		"a trusted origin has the usual port":          {func(c *config) { c.TrustedOrigins = []string{"https://www.example.com:443"} }, "TrustedOrigins", "only if it is not the usual one"},
		"a trusted origin is in upper case":            {func(c *config) { c.TrustedOrigins = []string{"https://WWW.example.com"} }, "TrustedOrigins", "in lower case"},
		"a trusted origin has a wildcard":              {func(c *config) { c.TrustedOrigins = []string{"https://*.example.com"} }, "TrustedOrigins", "which no browser sends"},
		"a trusted origin is an app's with a path":     {func(c *config) { c.TrustedOrigins = []string{"capacitor://localhost/app"} }, "TrustedOrigins", "no path"},
		"a trusted origin is a file":                   {func(c *config) { c.TrustedOrigins = []string{"file:///app"} }, "TrustedOrigins", "which no browser sends"},
		"a trusted origin is not in ASCII":             {func(c *config) { c.TrustedOrigins = []string{"https://bücher.example"} }, "TrustedOrigins", "in ASCII"},
		"a BaseURL ends in a dot":                      {func(c *config) { c.BaseURL = "https://app.example.com." }, "BaseURL", "none at the end"},
		"a BaseURL has a port that is none":            {func(c *config) { c.BaseURL = "https://app.example.com:70000" }, "BaseURL", "from 1 to 65535"},
		"a BaseURL has an IPv6 zone":                   {func(c *config) { c.BaseURL = "https://[fe80::1%25eth0]" }, "BaseURL", "without a zone"},
		"a BaseURL has a number for a host":            {func(c *config) { c.BaseURL = "http://127.1:8080" }, "BaseURL", "four decimal numbers"},
		"a BaseURL has a name that cannot be":          {func(c *config) { c.BaseURL = "https://xn--a.example" }, "BaseURL", "as your registrar does"},
		"a BaseURL has a wildcard":                     {func(c *config) { c.BaseURL = "https://*.example.com" }, "BaseURL", "letters, digits and hyphens"},
		"an Endpoint has a port that is none":          {func(c *config) { c.Endpoint = "https://example.logto.app:0" }, "Endpoint", "from 1 to 65535"},
		"a cookie path has other escapes than BaseURL": {func(c *config) { c.BaseURL, c.Cookies.Path = "https://app.example.com/%7Euser", "/~user" }, "Cookies.Path", "with the same escapes"},
		"a cookie path is the callback":                {func(c *config) { c.Cookies.Path = "/callback" }, "Cookies.Path", "to the route /sign-in"},
		"a cookie path is the callback with a slash":   {func(c *config) { c.Cookies.Path = "/callback/" }, "Cookies.Path", "would not send the cookies to the"},
		"the sign-out lies outside the cookie path": {func(c *config) {
			c.Cookies.Path, c.Paths = "/app", logtogin.Paths{SignIn: "/app/in", SignUp: "-", Callback: "/app/back"}
		}, "Cookies.Path", "to the route /sign-out"},
		"an own callback lies outside the cookie path": {func(c *config) { c.Cookies.Path, c.SignInDefaults = "/app", options{RedirectURI: "/my%20app/back"} }, "SignInDefaults.RedirectURI", "a path below it"},
		"an own callback is elsewhere": {func(c *config) {
			c.Cookies.Path, c.SignInDefaults = "/app", options{RedirectURI: "https://app.example.com/back"}
		}, "SignInDefaults.RedirectURI", "a path below it"},
		"AfterSignIn is the own callback with an escape": {func(c *config) {
			c.Paths.Callback, c.SignInDefaults, c.AfterSignIn = "-", options{RedirectURI: "https://app.example.com/my app/cb"}, "/my%20app/cb"
		}, "AfterSignIn", "give a page"},
		"a cookie path has an empty segment":            {func(c *config) { c.Cookies.Path = "/größe//x" }, "Cookies.Path", `begins with "/"`},
		"AfterSignOut has a host that cannot be":        {func(c *config) { c.AfterSignOut = "https://www..example.com" }, "AfterSignOut", "letters, digits and hyphens"},
		"a default redirect URI has a bad port":         {func(c *config) { c.SignInDefaults = options{RedirectURI: "https://app.example.com:0/callback"} }, "SignInDefaults.RedirectURI", "from 1 to 65535"},
		"a cookie domain is a single label":             {func(c *config) { c.Cookies.Domain = "com" }, "Cookies.Domain", "give that host or a parent domain"},
		"a cookie domain is a dot":                      {func(c *config) { c.Cookies.Domain = "." }, "Cookies.Domain", "give that host or a parent domain"},
		"a cookie domain is a part of an address":       {func(c *config) { c.BaseURL, c.Cookies.Domain = "https://10.1.2.3", "2.3" }, "Cookies.Domain", "give the name of a host"},
		"C70: __host- in lower case is on http":         {func(c *config) { c.BaseURL, c.Cookies.Name = "http://localhost:8080", "__host-x" }, "Cookies.Name", "choose another name"},
		"AfterSignIn is one of our routes":              {func(c *config) { c.AfterSignIn = "/sign-out" }, "AfterSignIn", "give a page of the application"},
		"AfterSignOut is one of our routes":             {func(c *config) { c.AfterSignOut = "/sign-out?x" }, "AfterSignOut", "give a page of the application"},
		"a default return path is one of our routes":    {func(c *config) { c.SignInDefaults = options{ReturnTo: "/callback"} }, "SignInDefaults.ReturnTo", "give a page of the application"},
		"AfterSignOut is a path with a fragment":        {func(c *config) { c.AfterSignOut = "/bye#x" }, "AfterSignOut", "an absolute https URL"},
		"a default redirect URI is a path with a query": {func(c *config) { c.SignInDefaults = options{RedirectURI: "/back?x"} }, "SignInDefaults.RedirectURI", "without query"},
		"a default extra parameter is another field's":  {func(c *config) { c.SignInDefaults = options{ExtraParams: map[string]string{"login_hint": "x"}} }, "SignInDefaults", `ExtraParams cannot set "login_hint"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := goodConfig()
			test.change(&cfg)
			err := registered(t, gin.New(), cfg)
			wantConfigError(t, err, test.field, test.advice)
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error shows a secret: %v", err)
			}
		})
	}
}

// refusing is a transport that notes what it is asked for and answers with
// what there is, or with an error.
type refusing struct {
	mu      sync.Mutex
	asked   []string
	answers map[string]any
}

func (r *refusing) RoundTrip(request *http.Request) (*http.Response, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = append(r.asked, request.URL.String())
	answer, ok := r.answers[request.URL.String()]
	if !ok {
		return nil, errors.New("this network is down")
	}
	body, err := json.Marshal(answer)
	if err != nil {
		return nil, err
	}
	return &http.Response{
		StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: request,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
	}, nil
}

func (r *refusing) addresses() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.asked)
}

func TestEndpointsThatAreAcceptedLeadToTheirIssuer(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	coordinate := base64.RawURLEncoding.EncodeToString
	keys := map[string]any{"keys": []any{map[string]any{
		"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "k", "x": coordinate(point[1:33]), "y": coordinate(point[33:]),
	}}}
	for name, test := range map[string]struct{ endpoint, issuer string }{
		"a host":                             {"https://tenant.logto.app", "https://tenant.logto.app/oidc"},
		"a host with a trailing slash":       {"https://tenant.logto.app/", "https://tenant.logto.app/oidc"},
		"a host with a port":                 {"https://tenant.logto.app:8443", "https://tenant.logto.app:8443/oidc"},
		"a path":                             {"https://example.com/logto", "https://example.com/logto/oidc"},
		"a path with a trailing slash":       {"https://example.com/logto/", "https://example.com/logto/oidc"},
		"a path of two segments":             {"https://example.com/a/b", "https://example.com/a/b/oidc"},
		"a path that only begins like /oidc": {"https://example.com/oidc-tenant", "https://example.com/oidc-tenant/oidc"},
		"localhost without https":            {"http://localhost:3001", "http://localhost:3001/oidc"},
		"localhost in upper case":            {"http://LOCALHOST:3001", "http://localhost:3001/oidc"},
		"a name below localhost":             {"http://logto.localhost", "http://logto.localhost/oidc"},
		"an IPv4 loopback without https":     {"http://127.0.0.1:3001/", "http://127.0.0.1:3001/oidc"},
		"another IPv4 loopback":              {"http://127.8.9.10", "http://127.8.9.10/oidc"},
		"an IPv6 loopback without https":     {"http://[::1]:3001", "http://[::1]:3001/oidc"},
		"a long IPv6 loopback":               {"http://[0:0:0:0:0:0:0:1]", "http://[::1]/oidc"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			discovery := test.issuer + "/.well-known/openid-configuration"
			document := map[string]any{
				"issuer": test.issuer, "authorization_endpoint": test.issuer + "/auth", "token_endpoint": test.issuer + "/token",
				"jwks_uri": test.issuer + "/jwks", "userinfo_endpoint": test.issuer + "/me", "end_session_endpoint": test.issuer + "/session/end",
				"revocation_endpoint": test.issuer + "/token/revocation", "response_types_supported": []string{"code"},
				"subject_types_supported": []string{"public"}, "id_token_signing_alg_values_supported": []string{"ES256"},
				"code_challenge_methods_supported": []string{"S256"},
			}
			open := func(answers map[string]any) (*logtogin.Auth, *refusing) {
				network := &refusing{answers: answers}
				cfg := goodConfig()
				cfg.Endpoint, cfg.HTTPClient = test.endpoint, &http.Client{Transport: network}
				auth, err := logtogin.New(cfg)
				if err != nil {
					t.Fatal(err)
				}
				return closed(t, auth), network
			}
			auth, network := open(map[string]any{discovery: document, test.issuer + "/jwks": keys})
			if asked := network.addresses(); len(asked) > 0 {
				t.Errorf("New asks for %q", asked)
			}
			if err := auth.Ready(t.Context()); err != nil {
				t.Errorf("Ready: %v", err)
			}
			if asked := network.addresses(); !slices.Equal(asked, []string{discovery, test.issuer + "/jwks"}) {
				t.Errorf("it asks for %q, want %q first", asked, discovery)
			}

			another := maps.Clone(document)
			another["issuer"] = test.issuer + "/"
			auth, _ = open(map[string]any{discovery: another, test.issuer + "/jwks": keys})
			if err := auth.Ready(t.Context()); !errors.Is(err, logtogin.ErrProviderUnavailable) {
				t.Errorf("another issuer is believed: %v", err)
			}
		})
	}
}

func TestConfigsThatAreAccepted(t *testing.T) {
	t.Parallel()
	type config = logtogin.Config
	for name, change := range map[string]func(*config){
		"only what is required is given":          func(c *config) { c.Secrets = nil },
		"a public client has Secrets":             func(c *config) { c.AppSecret = "" },
		"a short AppSecret has Secrets beside it": func(c *config) { c.AppSecret = "short" },
		"a secret has exactly 32 bytes":           func(c *config) { c.Secrets = []string{strings.Repeat("s", 32)} },
		"an AppSecret has exactly 16 bytes":       func(c *config) { c.AppSecret, c.Secrets = strings.Repeat("a", 16), nil },
		"a previous AppSecret is beside the new":  func(c *config) { c.PreviousAppSecrets = []string{strings.Repeat("p", 16)} },
		"a BaseURL has a trailing slash":          func(c *config) { c.BaseURL += "/" },
		"a BaseURL has a path":                    func(c *config) { c.BaseURL += "/app" },
		"a BaseURL is localhost":                  func(c *config) { c.BaseURL = "http://localhost" },
		"a BaseURL is localhost with a port":      func(c *config) { c.BaseURL = "http://localhost:8080" },
		"a BaseURL is an IPv4 loopback":           func(c *config) { c.BaseURL = "http://127.0.0.1:8080" },
		"a BaseURL is an IPv6 loopback":           func(c *config) { c.BaseURL = "http://[::1]:8080" },
		"a BaseURL is an IPv6 loopback on https":  func(c *config) { c.BaseURL = "https://[::1]" },
		"scopes are repeated":                     func(c *config) { c.Scopes = []string{"openid", "email", "email"} },
		"a scope is a URN":                        func(c *config) { c.Scopes = []string{"urn:logto:scope:organizations", "read:things"} },
		"reserved scopes are omitted but openid":  func(c *config) { c.OmitReservedScopes, c.Scopes = true, []string{"openid"} },
		"a resource is a URN":                     func(c *config) { c.Resources = []string{"urn:example:api"} },
		"a resource has a query":                  func(c *config) { c.Resources = []string{"https://api.example.com/?v=1"} },
		"a lifetime is a second":                  func(c *config) { c.SessionLifetime = time.Second },
		"a lifetime is 400 days":                  func(c *config) { c.SessionLifetime = 400 * 24 * time.Hour },
		"a clock skew is five minutes":            func(c *config) { c.ClockSkew = 5 * time.Minute },
		"AfterSignIn has query and fragment":      func(c *config) { c.AfterSignIn = "/home?tab=1#top" },
		"AfterSignOut is a path":                  func(c *config) { c.AfterSignOut = "/bye" },
		"AfterSignOut is another site":            func(c *config) { c.AfterSignOut = "https://www.example.com/bye?x=1" },
		"AfterSignOut is a loopback":              func(c *config) { c.AfterSignOut = "http://localhost:3000/bye" },
		"paths have several segments":             func(c *config) { c.Paths.SignIn, c.Paths.Callback = "/auth/enter", "/auth/back" },
		"all routes are left out": func(c *config) {
			c.Paths = logtogin.Paths{SignIn: "-", SignUp: "-", Callback: "-", SignOut: "-", BackchannelLogout: "-"}
		},
		"the callback is the application's own":  func(c *config) { c.Paths.Callback, c.SignInDefaults.RedirectURI = "-", "/my-callback" },
		"C70: __Host- is on https":               func(c *config) { c.Cookies.Name = "__Host-x" },
		"C70: __Host- has the path it must have": func(c *config) { c.Cookies = logtogin.CookieOptions{Name: "__Host-x", Path: "/"} },
		"C70: __Secure- has a Domain on https":   func(c *config) { c.Cookies = logtogin.CookieOptions{Name: "__Secure-x", Domain: "example.com"} },
		"a cookie domain is the host":            func(c *config) { c.Cookies.Domain = "app.example.com" },
		"a cookie domain begins with a dot":      func(c *config) { c.Cookies.Domain = ".example.com" },
		"a cookie path is above BaseURL's":       func(c *config) { c.BaseURL, c.Cookies.Path = "https://app.example.com/a/b", "/a" },
		"trusted origins have ports":             func(c *config) { c.TrustedOrigins = []string{"https://www.example.com", "http://localhost:5173"} },
		"trusted origins are apps": func(c *config) {
			c.TrustedOrigins = []string{"capacitor://localhost", "chrome-extension://abcdefghijklmnopabcdefghijklmnop"}
		},
		"an AppSecret has a space at an end":       func(c *config) { c.AppSecret += " " },
		"an AppID has a space at an end":           func(c *config) { c.AppID = " " + c.AppID },
		"every known prompt is one for defaults":   func(c *config) { c.Prompt, c.SignInDefaults.Prompt = logtogin.PromptOmit, logtogin.PromptLoginConsent },
		"every option has a default that is right": func(c *config) { c.SignInDefaults = everyOption() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := goodConfig()
			change(&cfg)
			if err := registered(t, gin.New(), cfg); err != nil {
				t.Error(err)
			}
		})
	}
}

// everyOption has no field at its zero value.
func everyOption() logtogin.SignInOptions {
	return logtogin.SignInOptions{
		ReturnTo: "/here", RedirectURI: "/callback", Prompt: logtogin.PromptLogin, FirstScreen: logtogin.FirstScreenResetPassword,
		Identifiers: []logtogin.Identifier{logtogin.IdentifierEmail, logtogin.IdentifierUsername}, DirectSignIn: "sso:x",
		LoginHint: "alice@example.test", OneTimeToken: "t", UILocales: []string{"de", "en"}, OrganizationID: "o", OrganizationNarrowsPermissions: true,
		MaxAge: time.Minute, ExtraParams: map[string]string{"one": "1", "two": "2"},
	}
}

func TestLeftOutRoutesAreNotThere(t *testing.T) {
	t.Parallel()
	all := []string{"GET /sign-in", "GET /sign-up", "GET /callback", "GET /sign-out", "POST /sign-out", "POST /backchannel-logout"}
	for name, test := range map[string]struct {
		paths logtogin.Paths
		want  []string
	}{
		"by default all are there":  {logtogin.Paths{}, all},
		"sign-up is left out":       {logtogin.Paths{SignUp: "-", BackchannelLogout: "-"}, []string{"GET /sign-in", "GET /callback", "GET /sign-out", "POST /sign-out"}},
		"sign-out is left out":      {logtogin.Paths{SignOut: "-"}, []string{"GET /sign-in", "GET /sign-up", "GET /callback", "POST /backchannel-logout"}},
		"only the callback is left": {logtogin.Paths{SignIn: "-", SignUp: "-", SignOut: "-", BackchannelLogout: "-"}, []string{"GET /callback"}},
		"others than the defaults": {logtogin.Paths{SignIn: "/a", SignUp: "/b", Callback: "/c", SignOut: "/d/e", BackchannelLogout: "/f"}, []string{
			"GET /a", "GET /b", "GET /c", "GET /d/e", "POST /d/e", "POST /f",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			router := gin.New()
			cfg := goodConfig()
			cfg.Paths = test.paths
			if err := registered(t, router, cfg); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, route := range router.Routes() {
				got = append(got, route.Method+" "+route.Path)
			}
			slices.Sort(got)
			if want := slices.Sorted(slices.Values(test.want)); !slices.Equal(got, want) {
				t.Errorf("the routes are %q, want %q", got, want)
			}
		})
	}
}

func TestRoutersThatCannotTakeTheRoutesAreErrors(t *testing.T) {
	t.Parallel()
	handler := func(*gin.Context) {}
	for name, test := range map[string]struct {
		prepare func(*gin.Engine) gin.IRouter
		advice  string
	}{
		"there is no router":                          {func(*gin.Engine) gin.IRouter { return nil }, "use a *gin.Engine"},
		"the router does not tell its path":           {func(r *gin.Engine) gin.IRouter { return struct{ gin.IRouter }{r} }, "use a *gin.Engine"},
		"the group has a parameter":                   {func(r *gin.Engine) gin.IRouter { return r.Group("/:tenant") }, "may have no parameter"},
		"a group above has a parameter":               {func(r *gin.Engine) gin.IRouter { return r.Group("/t/:tenant").Group("/auth") }, "may have no parameter"},
		"the group has an escape":                     {func(r *gin.Engine) gin.IRouter { return r.Group("/my%20app") }, "without escapes"},
		"the group has a question mark":               {func(r *gin.Engine) gin.IRouter { return r.Group("/what?") }, "a plain path"},
		"the group has a backslash":                   {func(r *gin.Engine) gin.IRouter { return r.Group(`/a\b`) }, "a plain path"},
		"the group has a line feed":                   {func(r *gin.Engine) gin.IRouter { return r.Group("/a\nb") }, "a plain path"},
		"the group has a catch-all":                   {func(r *gin.Engine) gin.IRouter { return r.Group("/*rest") }, "may have no parameter"},
		"the sign-in path is taken":                   {func(r *gin.Engine) gin.IRouter { r.GET("/sign-in", handler); return r }, "GET /sign-in"},
		"the sign-up path is taken":                   {func(r *gin.Engine) gin.IRouter { r.GET("/sign-up", handler); return r }, "GET /sign-up"},
		"the callback path is taken":                  {func(r *gin.Engine) gin.IRouter { r.Any("/callback", handler); return r }, "GET /callback"},
		"the sign-out path is taken for GET":          {func(r *gin.Engine) gin.IRouter { r.GET("/sign-out", handler); return r }, "GET /sign-out"},
		"the sign-out path is taken for POST":         {func(r *gin.Engine) gin.IRouter { r.POST("/sign-out", handler); return r }, "POST /sign-out"},
		"a catch-all lies beside them":                {func(r *gin.Engine) gin.IRouter { r.GET("/*any", handler); return r }, "a catch-all can become NoRoute"},
		"a catch-all lies beside them for POST":       {func(r *gin.Engine) gin.IRouter { r.POST("/*any", handler); return r }, "a catch-all can become NoRoute"},
		"a catch-all lies beside them in the group":   {func(r *gin.Engine) gin.IRouter { g := r.Group("/auth"); g.GET("/*any", handler); return g }, "a catch-all can become NoRoute"},
		"a catch-all lies above the group":            {func(r *gin.Engine) gin.IRouter { r.GET("/*any", handler); return r.Group("/auth") }, "a catch-all can become NoRoute"},
		"static files of the whole host are served":   {func(r *gin.Engine) gin.IRouter { r.Static("/", t.TempDir()); return r }, "a catch-all can become NoRoute"},
		"the same Config has been registered already": {func(r *gin.Engine) gin.IRouter { _, _ = logtogin.Register(r, goodConfig()); return r }, "choose another path"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			router := test.prepare(gin.New())
			wantConfigError(t, registered(t, router, goodConfig()), "Paths", test.advice)
			// Again: what was added the first time is in the way now.
			wantConfigError(t, registered(t, router, goodConfig()), "Paths", "")
		})
	}
}

// The other order: gin refuses what comes later, and the routes that were
// there first go on working.
func TestACatchAllThatComesLaterHarmsNothing(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	app := newApplication(t, logto, nil)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("gin takes a catch-all beside other routes now: RegisterRoutes can, too")
			}
		}()
		app.router.GET("/*any", func(*gin.Context) {})
	}()
	b := newBrowser(t)
	if b.signIn(app.url+"/sign-in", logtotest.DefaultUser()); !b.isSignedIn(app) {
		t.Error("not signed in")
	}
}

func TestRoutersThatCanTakeTheRoutes(t *testing.T) {
	t.Parallel()
	handler := func(*gin.Context) {}
	for name, prepare := range map[string]func(*gin.Engine) gin.IRouter{
		"an engine":                       func(r *gin.Engine) gin.IRouter { return r },
		"a group":                         func(r *gin.Engine) gin.IRouter { return r.Group("/auth") },
		"a group with a slash at the end": func(r *gin.Engine) gin.IRouter { return r.Group("/auth/") },
		"a parameter beside the routes":   func(r *gin.Engine) gin.IRouter { r.GET("/:page", handler); return r },
		"a catch-all in another group":    func(r *gin.Engine) gin.IRouter { r.GET("/files/*path", handler); return r },
		"a catch-all of another method":   func(r *gin.Engine) gin.IRouter { r.PUT("/*any", handler); return r },
		"the callback for another method": func(r *gin.Engine) gin.IRouter { r.POST("/callback", handler); return r },
		"another Auth in another group": func(r *gin.Engine) gin.IRouter {
			_, _ = logtogin.Register(r.Group("/b"), goodConfig())
			return r.Group("/a")
		},
		"NoRoute instead of a catch-all":    func(r *gin.Engine) gin.IRouter { r.NoRoute(handler); return r },
		"a group below one with middleware": func(r *gin.Engine) gin.IRouter { return r.Group("/a", handler).Group("/b", handler) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := registered(t, prepare(gin.New()), goodConfig()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestRegisterRoutesTakesPlaceOnce(t *testing.T) {
	t.Parallel()
	auth, err := logtogin.New(goodConfig())
	if err != nil {
		t.Fatal(err)
	}
	closed(t, auth)
	router := gin.New()
	if err := auth.RegisterRoutes(router); err != nil {
		t.Fatal(err)
	}
	before := len(router.Routes())
	wantConfigError(t, auth.RegisterRoutes(router), "Paths", "one set of routes")
	other := gin.New()
	wantConfigError(t, auth.RegisterRoutes(other), "Paths", "one set of routes")
	if len(router.Routes()) != before || len(other.Routes()) != 0 {
		t.Errorf("%d and %d routes, want %d and none", len(router.Routes()), len(other.Routes()), before)
	}
}

func TestWithoutBaseURLEachStepNamesTheSetting(t *testing.T) {
	t.Parallel()
	auth, err := logtogin.New(logtogin.Config{Endpoint: "https://tenant.logto.app", AppID: "app", AppSecret: strings.Repeat("s", 32)})
	if err != nil {
		t.Fatal(err)
	}
	for what, step := range map[string]func(c *gin.Context) error{
		"SignInURL": func(c *gin.Context) error {
			_, err := auth.SignInURL(c, logtogin.SignInOptions{})
			return err
		},
		"SignOutURL": func(c *gin.Context) error {
			_, err := auth.SignOutURL(c, logtogin.SignOutOptions{})
			return err
		},
		"HandleCallback": func(c *gin.Context) error {
			_, err := auth.HandleCallback(c)
			return err
		},
	} {
		c, _ := gin.CreateTestContext(httptest.NewRecorder())
		c.Request = httptest.NewRequest(http.MethodGet, "/callback?state=x&code=y", nil)
		var wrong *logtogin.ConfigError
		if err := step(c); !errors.As(err, &wrong) || wrong.Field != "BaseURL" {
			t.Errorf("%s: got %v, want a ConfigError of BaseURL", what, err)
		}
	}
	router := gin.New()
	router.GET("/in", func(c *gin.Context) { auth.SignIn(c, logtogin.SignInOptions{}) })
	router.GET("/out", func(c *gin.Context) { auth.SignOut(c, logtogin.SignOutOptions{}) })
	router.GET("/refused", func(c *gin.Context) { auth.Refuse(c, logtogin.ErrNotSignedIn) })
	router.GET("/session", func(c *gin.Context) {
		_, errOfClaims := auth.Claims(c)
		_, errOfToken := auth.AccessToken(c)
		_, errOfCall := auth.HTTPClient(c).Get("http://127.0.0.1:1/")
		for what, err := range map[string]error{"Claims": errOfClaims, "AccessToken": errOfToken, "HTTPClient": errOfCall} {
			if !errors.Is(err, logtogin.ErrNotSignedIn) {
				t.Errorf("%s: got %v, want ErrNotSignedIn", what, err)
			}
		}
		if auth.IsAuthenticated(c) {
			t.Error("IsAuthenticated is true")
		}
	})
	for path, want := range map[string]int{"/in": http.StatusInternalServerError, "/out": http.StatusInternalServerError, "/refused": http.StatusUnauthorized, "/session": http.StatusOK} {
		w := httptest.NewRecorder()
		router.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code != want {
			t.Errorf("%s: got %d, want %d", path, w.Code, want)
		}
	}
	if err := auth.Close(); err != nil {
		t.Error(err)
	}
}

func TestAnAuthWithoutBaseURLHasNoRoutes(t *testing.T) {
	t.Parallel()
	auth, err := logtogin.New(logtogin.Config{Endpoint: "https://tenant.logto.app"})
	if err != nil {
		t.Fatal(err)
	}
	closed(t, auth)
	wantConfigError(t, auth.RegisterRoutes(gin.New()), "AppID", "copy the App ID")
	auth, err = logtogin.New(logtogin.Config{Endpoint: "https://tenant.logto.app", AppID: "x", AppSecret: strings.Repeat("a", 32)})
	if err != nil {
		t.Fatal(err)
	}
	closed(t, auth)
	wantConfigError(t, auth.RegisterRoutes(gin.New()), "BaseURL", "give the address")
}

// fullConfig has every slice and map filled.
func fullConfig() logtogin.Config {
	cfg := goodConfig()
	cfg.Scopes = append(make([]string, 0, 16), "email", "urn:logto:scope:organizations")
	cfg.Resources = append(make([]string, 0, 16), "https://api.example.com/")
	cfg.Secrets = append(make([]string, 0, 16), strings.Repeat("1", 32), strings.Repeat("2", 32))
	cfg.PreviousAppSecrets = append(make([]string, 0, 16), strings.Repeat("3", 32))
	cfg.TrustedOrigins = append(make([]string, 0, 16), "https://www.example.com")
	cfg.SignInDefaults = everyOption()
	return cfg
}

func TestAConfigIsNotWrittenTo(t *testing.T) {
	t.Parallel()
	client := &http.Client{Timeout: 17 * time.Second, Transport: &refusing{}}
	fresh := func() logtogin.Config {
		cfg := fullConfig()
		cfg.HTTPClient, cfg.Logger, cfg.Endpoint, cfg.BaseURL = client, nil, "https://tenant.logto.app/", "https://app.example.com/"
		return cfg
	}
	cfg := fresh()
	if err := registered(t, gin.New(), cfg); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(cfg, fresh()) {
		t.Errorf("the Config was changed to %+v", cfg)
	}
	if client.Timeout != 17*time.Second || client.CheckRedirect != nil || client.Jar != nil {
		t.Errorf("the HTTPClient was changed to %+v", client)
	}
	for name, slice := range map[string][]string{
		"Scopes": cfg.Scopes, "Resources": cfg.Resources, "Secrets": cfg.Secrets,
		"PreviousAppSecrets": cfg.PreviousAppSecrets, "TrustedOrigins": cfg.TrustedOrigins,
	} {
		for _, beyond := range slice[len(slice):cap(slice)] {
			if beyond != "" {
				t.Errorf("%q was written behind the end of %s", beyond, name)
			}
		}
	}
}

func TestChangingAConfigAfterwardsChangesNothing(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	logto.AddResource(logtotest.Resource{Indicator: "https://api.example.com/"})
	var kept logtogin.Config
	app := newApplication(t, logto, func(cfg *logtogin.Config) {
		cfg.Scopes = []string{"email"}
		cfg.Resources = []string{"https://api.example.com/"}
		cfg.Secrets = []string{strings.Repeat("1", 32)}
		cfg.PreviousAppSecrets = []string{strings.Repeat("2", 32)}
		cfg.TrustedOrigins = []string{"https://www.example.com"}
		cfg.SignInDefaults = logtogin.SignInOptions{
			Identifiers: []logtogin.Identifier{logtogin.IdentifierEmail}, UILocales: []string{"de"}, ExtraParams: map[string]string{"extra": "1"},
		}
		kept = *cfg
	})
	address := func() url.Values {
		query := authorizationOf(t, app, "/sign-in", nil)
		for _, random := range []string{"state", "nonce", "code_challenge"} {
			query.Del(random)
		}
		return query
	}
	post := func() int {
		r, err := http.NewRequest(http.MethodPost, app.url+"/profile", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Origin", "https://www.example.com")
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		r.Header.Set("Sec-Fetch-Mode", "cors")
		return newBrowser(t).do(r).status
	}
	b := newBrowser(t)
	b.signIn(app.url+"/sign-in", logtotest.DefaultUser())
	before := address()
	if post() != http.StatusUnauthorized {
		t.Fatal("the trusted origin is not trusted to begin with")
	}

	kept.Scopes[0], kept.Resources[0], kept.TrustedOrigins[0] = "phone", "https://evil.example/", "https://evil.example"
	kept.Secrets[0], kept.PreviousAppSecrets[0] = strings.Repeat("9", 32), strings.Repeat("8", 32)
	kept.SignInDefaults.Identifiers[0], kept.SignInDefaults.UILocales[0] = logtogin.IdentifierPhone, "fr"
	kept.SignInDefaults.ExtraParams["extra"], kept.SignInDefaults.ExtraParams["more"] = "2", "x"

	if after := address(); !reflect.DeepEqual(after, before) {
		t.Errorf("the sign-in is %v, was %v", after, before)
	}
	if post() != http.StatusUnauthorized {
		t.Error("the trusted origin is not trusted any more")
	}
	if !b.isSignedIn(app) {
		t.Error("the session is lost")
	}
}

func TestNewMakesNoCallAndWorksWhileLogtoIsDown(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := "http://" + listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	cfg := goodConfig()
	cfg.Endpoint = address
	if err := registered(t, gin.New(), cfg); err != nil {
		t.Errorf("with nobody listening: %v", err)
	}

	logto := logtotest.NewServer(t)
	app := newApplication(t, logto, nil)
	if calls := logto.Calls(); calls != (logtotest.Calls{}) {
		t.Errorf("Register makes calls: %+v", calls)
	}
	if body := newBrowser(t).get(app.url + "/").body; body != "not signed in" {
		t.Errorf("the page is %q", body)
	}
	if calls := logto.Calls(); calls != (logtotest.Calls{}) {
		t.Errorf("a visitor makes calls: %+v", calls)
	}
}

// A restart would forget what Logto has said.
func TestRevocationsInThisProcessAloneAreWarnedOf(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*logtogin.Config)
		warns  bool
	}{
		"by default":                {func(*logtogin.Config) {}, true},
		"with a store for sessions": {func(c *logtogin.Config) { c.Store = newServerStore() }, true},
		"not with a shared state":   {func(c *logtogin.Config) { c.SharedState = newCommonState() }, false},
		"not without the route":     {func(c *logtogin.Config) { c.Paths.BackchannelLogout = "-" }, false},
		"not on a loopback host":    {func(c *logtogin.Config) { c.BaseURL = "http://localhost:8080" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := &logBuffer{}
			cfg := goodConfig()
			cfg.Secrets = []string{strings.Repeat("s", 32)}
			cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
			test.change(&cfg)
			if err := registered(t, gin.New(), cfg); err != nil {
				t.Fatal(err)
			}
			if warns := strings.Contains(log.String(), "set SharedState in production"); warns != test.warns {
				t.Errorf("the log is %q", log)
			}
		})
	}
}

func TestDerivedSecretsAreWarnedOfWhereOthersCanSeeThem(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		baseURL string
		secrets []string
		warns   bool
	}{
		"on a public host":              {"https://app.example.com", nil, true},
		"on a public host with a path":  {"https://app.example.com/app/", nil, true},
		"in a private network":          {"https://10.1.2.3", nil, true},
		"with an empty list":            {"https://app.example.com", []string{}, true},
		"not on localhost":              {"http://localhost:8080", nil, false},
		"not on an IPv4 loopback":       {"http://127.0.0.1:8080", nil, false},
		"not on an IPv6 loopback":       {"http://[::1]:8080", nil, false},
		"not with Secrets":              {"https://app.example.com", []string{strings.Repeat("s", 32)}, false},
		"not with Secrets on localhost": {"http://localhost:8080", []string{strings.Repeat("s", 32)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := &logBuffer{}
			cfg := goodConfig()
			cfg.BaseURL, cfg.Secrets, cfg.Paths.BackchannelLogout = test.baseURL, test.secrets, "-"
			cfg.Logger = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
			if err := registered(t, gin.New(), cfg); err != nil {
				t.Fatal(err)
			}
			written := log.String()
			if warns := strings.Count(written, "level=WARN") == 1 && strings.Contains(written, "set Secrets in production"); warns != test.warns {
				t.Errorf("the log is %q", written)
			}
			if !test.warns && written != "" {
				t.Errorf("the log is %q, want nothing", written)
			}
			if strings.Contains(written, cfg.AppSecret) {
				t.Error("the log holds the secret")
			}
		})
	}
}

var environment = map[string]struct {
	value string
	want  func(*logtogin.Config)
}{
	"LOGTO_ENDPOINT":             {"https://tenant.logto.app", func(c *logtogin.Config) { c.Endpoint = "https://tenant.logto.app" }},
	"LOGTO_APP_ID":               {"id", func(c *logtogin.Config) { c.AppID = "id" }},
	"LOGTO_APP_SECRET":           {"p@ss word", func(c *logtogin.Config) { c.AppSecret = "p@ss word" }},
	"LOGTO_BASE_URL":             {"https://app.example.com", func(c *logtogin.Config) { c.BaseURL = "https://app.example.com" }},
	"LOGTO_SCOPES":               {" email  phone\tread:things\n", func(c *logtogin.Config) { c.Scopes = []string{"email", "phone", "read:things"} }},
	"LOGTO_RESOURCES":            {"https://a.example/ urn:b", func(c *logtogin.Config) { c.Resources = []string{"https://a.example/", "urn:b"} }},
	"LOGTO_SECRETS":              {"new old", func(c *logtogin.Config) { c.Secrets = []string{"new", "old"} }},
	"LOGTO_PREVIOUS_APP_SECRETS": {"one two", func(c *logtogin.Config) { c.PreviousAppSecrets = []string{"one", "two"} }},
	"LOGTO_TRUSTED_ORIGINS":      {"https://a.example https://b.example", func(c *logtogin.Config) { c.TrustedOrigins = []string{"https://a.example", "https://b.example"} }},
	"LOGTO_PROMPT":               {"login consent", func(c *logtogin.Config) { c.Prompt = logtogin.PromptLoginConsent }},
	"LOGTO_AFTER_SIGN_IN":        {"/home", func(c *logtogin.Config) { c.AfterSignIn = "/home" }},
	"LOGTO_AFTER_SIGN_OUT":       {"/bye", func(c *logtogin.Config) { c.AfterSignOut = "/bye" }},
	"LOGTO_SESSION_LIFETIME":     {"336h30m", func(c *logtogin.Config) { c.SessionLifetime = 336*time.Hour + 30*time.Minute }},
	"LOGTO_IDLE_TIMEOUT":         {"30m", func(c *logtogin.Config) { c.IdleTimeout = 30 * time.Minute }},
	"LOGTO_STORE_TIMEOUT":        {"1s", func(c *logtogin.Config) { c.StoreTimeout = time.Second }},
	"LOGTO_CLOCK_SKEW":           {"90s", func(c *logtogin.Config) { c.ClockSkew = 90 * time.Second }},
}

func clearEnvironment(t *testing.T) {
	t.Helper()
	for name := range environment {
		t.Setenv(name, "")
	}
}

// equalConfig compares without telling nil and empty lists apart, which mean
// the same.
func equalConfig(a, b logtogin.Config) bool {
	for _, cfg := range []*logtogin.Config{&a, &b} {
		for _, list := range []*[]string{&cfg.Scopes, &cfg.Resources, &cfg.Secrets, &cfg.PreviousAppSecrets, &cfg.TrustedOrigins} {
			if len(*list) == 0 {
				*list = nil
			}
		}
	}
	return reflect.DeepEqual(a, b)
}

func TestEachEnvironmentVariableFillsItsField(t *testing.T) {
	for name, variable := range environment {
		t.Run(name, func(t *testing.T) {
			clearEnvironment(t)
			t.Setenv(name, variable.value)
			var want logtogin.Config
			variable.want(&want)
			if got, err := logtogin.ConfigFromEnv(); err != nil || !equalConfig(got, want) {
				t.Errorf("%+v, %v; want %+v", got, err, want)
			}
		})
	}
	t.Run("all of them together", func(t *testing.T) {
		var want logtogin.Config
		for name, variable := range environment {
			t.Setenv(name, variable.value)
			variable.want(&want)
		}
		if got, err := logtogin.ConfigFromEnv(); err != nil || !equalConfig(got, want) {
			t.Errorf("%+v, %v; want %+v", got, err, want)
		}
	})
	t.Run("none of them", func(t *testing.T) {
		clearEnvironment(t)
		if got, err := logtogin.ConfigFromEnv(); err != nil || !equalConfig(got, logtogin.Config{}) {
			t.Errorf("%+v, %v; want a zero Config", got, err)
		}
	})
}

func TestADurationThatCannotBeReadIsAnError(t *testing.T) {
	for field, variable := range map[string]string{"SessionLifetime": "LOGTO_SESSION_LIFETIME", "ClockSkew": "LOGTO_CLOCK_SKEW", "IdleTimeout": "LOGTO_IDLE_TIMEOUT", "StoreTimeout": "LOGTO_STORE_TIMEOUT"} {
		for _, text := range []string{"14 days", "14d", "3600", "-", " ", "1h "} {
			t.Run(variable+" is "+text, func(t *testing.T) {
				clearEnvironment(t)
				t.Setenv("LOGTO_APP_SECRET", "hunter2")
				t.Setenv(variable, text)
				cfg, err := logtogin.ConfigFromEnv()
				wantConfigError(t, err, field, `write a duration such as "336h"`)
				if !strings.Contains(err.Error(), variable) {
					t.Errorf("the error %q does not name the variable", err)
				}
				if !reflect.DeepEqual(cfg, logtogin.Config{}) {
					t.Errorf("there is a Config beside the error: %+v", cfg)
				}
			})
		}
	}
}

func TestAnEnvironmentMakesAnApplication(t *testing.T) {
	clearEnvironment(t)
	logto := logtotest.NewServer(t)
	t.Setenv("LOGTO_ENDPOINT", logto.Endpoint())
	t.Setenv("LOGTO_APP_ID", logto.AppID())
	t.Setenv("LOGTO_APP_SECRET", logto.AppSecret())
	app := newApplication(t, logto, func(cfg *logtogin.Config) {
		fromEnv, err := logtogin.ConfigFromEnv()
		if err != nil {
			t.Fatal(err)
		}
		fromEnv.BaseURL, fromEnv.Logger = cfg.BaseURL, cfg.Logger
		*cfg = fromEnv
	})
	b := newBrowser(t)
	if b.signIn(app.url+"/sign-in", logtotest.DefaultUser()); !b.isSignedIn(app) {
		t.Error("not signed in")
	}
}
