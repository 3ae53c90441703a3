// Package bench_test compares what guards cost, here and with other libraries, in one run:
// whole requests through gin, a new http.Request each time.
package bench_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	ginjwt "github.com/appleboy/gin-jwt/v2"
	jwtmiddleware "github.com/auth0/go-jwt-middleware/v2"
	"github.com/auth0/go-jwt-middleware/v2/validator"
	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/gin-contrib/sessions"
	"github.com/gin-contrib/sessions/cookie"
	"github.com/gin-contrib/sessions/memstore"
	"github.com/gin-gonic/gin"
	"github.com/golang-jwt/jwt/v5"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
)

const (
	endpoint = "https://logto.example.test"
	issuer   = endpoint + "/oidc"
	api      = "https://orders.example.test/"
)

// signer is a Logto as far as APIs know one: a key, and the documents that lead to it.
type signer struct {
	algorithm string
	key       *ecdsa.PrivateKey
	hash      func([]byte) []byte
	issued    int
}

func newSigner(tb testing.TB, algorithm string) *signer {
	tb.Helper()
	curve, hash := elliptic.P256(), func(input []byte) []byte { sum := sha256.Sum256(input); return sum[:] }
	if algorithm == "ES384" {
		curve, hash = elliptic.P384(), func(input []byte) []byte { sum := sha512.Sum384(input); return sum[:] }
	}
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return &signer{algorithm: algorithm, key: key, hash: hash}
}

// token is one with the claims that Logto gives to users, and no other like it.
func (s *signer) token(tb testing.TB) string {
	tb.Helper()
	s.issued++
	token, err := logtotest.SignToken(s.algorithm, s.key,
		map[string]any{"alg": s.algorithm, "typ": "at+jwt", "kid": "key"},
		map[string]any{
			"jti": fmt.Sprint("token-", s.issued), "sub": "user-0123456", "iss": issuer, "aud": api, "client_id": "app-0123456789",
			"scope": "read:orders write:orders", "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
		})
	if err != nil {
		tb.Fatal(err)
	}
	return token
}

// RoundTrip answers for Logto.
func (s *signer) RoundTrip(r *http.Request) (*http.Response, error) {
	var document any = map[string]string{
		"issuer": issuer, "jwks_uri": issuer + "/jwks", "authorization_endpoint": issuer + "/auth", "token_endpoint": issuer + "/token",
		"userinfo_endpoint": issuer + "/me", "end_session_endpoint": issuer + "/session/end", "revocation_endpoint": issuer + "/token/revocation",
	}
	if strings.HasSuffix(r.URL.Path, "/jwks") {
		point, err := s.key.PublicKey.Bytes()
		if err != nil {
			return nil, err
		}
		size := (len(point) - 1) / 2
		encode := base64.RawURLEncoding.EncodeToString
		document = map[string]any{"keys": []any{map[string]string{
			"kty": "EC", "use": "sig", "kid": "key", "alg": s.algorithm, "crv": s.key.Curve.Params().Name,
			"x": encode(point[1 : 1+size]), "y": encode(point[1+size:]),
		}}}
	}
	body, err := json.Marshal(document)
	if err != nil {
		return nil, err
	}
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(strings.NewReader(string(body))), Request: r,
	}, nil
}

// contestant is a router that lets requests through to a handler that does nothing.
type contestant struct {
	name   string
	router http.Handler
	// next returns the header of a request that must be let through.
	next func() http.Header
	// bad is the header of one that must not, if there is such a one.
	bad http.Header
}

// request is a new one each time.
func (c *contestant) request(header http.Header) *http.Request {
	return &http.Request{Method: http.MethodGet, URL: rootURL, Header: header, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}
}

var rootURL = httptest.NewRequest(http.MethodGet, "/", nil).URL

func behind(guards ...gin.HandlerFunc) *gin.Engine {
	router := gin.New()
	router.Use(guards...)
	router.GET("/", func(c *gin.Context) { c.Status(http.StatusOK) })
	return router
}

func always(header http.Header) func() http.Header {
	return func() http.Header { return header }
}

// inTurn gives one header after the other, again and again.
func inTurn(headers []http.Header) func() http.Header {
	i := 0
	return func() http.Header {
		i = (i + 1) % len(headers)
		return headers[i]
	}
}

func bearer(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }

func noGuard() *contestant {
	return &contestant{name: "a route without a guard", router: behind(), next: always(http.Header{})}
}

// pages are guards of sessions. fresh is how many sessions take turns in the row for those
// that have not been seen lately.
func pages(t *testing.T, fresh int) []*contestant {
	const secret = "a key of thirty-two bytes, at least"
	warm, first := logtoginPage(t, "logtogin, cookies", 1, nil), logtoginPage(t, "logtogin, cookies, not seen lately", fresh, nil)
	stored := logtoginPage(t, "logtogin, memstore", 1, func(cfg *logtogin.Config) { cfg.Store = memstore.NewStore([]byte(secret)) })
	return []*contestant{
		warm, first, stored,
		ginContrib(t, "gin-contrib/sessions alone, cookies", cookie.NewStore([]byte(secret), []byte(secret[:32]))),
		ginContrib(t, "gin-contrib/sessions alone, memstore", memstore.NewStore([]byte(secret))),
		ginJWT(t),
	}
}

func logtoginPage(t *testing.T, name string, users int, change func(*logtogin.Config)) *contestant {
	logto := logtotest.NewServer(t)
	cfg := logto.Config("https://app.example.test")
	if change != nil {
		change(&cfg)
	}
	router := gin.New()
	auth, err := logtogin.Register(router, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = auth.Close() })
	var seen http.Header
	router.GET("/cookies", func(c *gin.Context) { seen = http.Header{"Cookie": c.Request.Header["Cookie"]} })
	router.GET("/", auth.Guard(), func(c *gin.Context) { c.Status(http.StatusOK) })
	var headers []http.Header
	for range users {
		client := logto.SignIn(t, router, logtotest.DefaultUser())
		response, err := client.Get("/cookies")
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		headers = append(headers, seen.Clone())
	}
	return &contestant{name, router, inTurn(headers), http.Header{"Cookie": {"logtogin=x"}}}
}

// ginContrib is a session of the size of ours, read and not otherwise looked at.
func ginContrib(t *testing.T, name string, store sessions.Store) *contestant {
	router := gin.New()
	router.Use(sessions.Sessions("session", store))
	router.GET("/fill", func(c *gin.Context) {
		session := sessions.Default(c)
		session.Set("value", strings.Repeat("x", 1300))
		if err := session.Save(); err != nil {
			t.Error(err)
		}
	})
	router.GET("/", func(c *gin.Context) {
		if sessions.Default(c).Get("value") == nil {
			c.AbortWithStatus(http.StatusUnauthorized)
			return
		}
		c.Status(http.StatusOK)
	})
	w := httptest.NewRecorder()
	router.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/fill", nil))
	header := http.Header{}
	for _, set := range w.Result().Cookies() {
		header.Add("Cookie", set.Name+"="+set.Value)
	}
	return &contestant{name, router, always(header), http.Header{"Cookie": {"session=x"}}}
}

// ginJWT verifies tokens that it has issued itself, by HMAC.
func ginJWT(t *testing.T) *contestant {
	guard, err := ginjwt.New(&ginjwt.GinJWTMiddleware{
		Realm: "test", Key: []byte("a key of thirty-two bytes, at least"), Timeout: time.Hour, IdentityKey: "sub",
		PayloadFunc: func(any) ginjwt.MapClaims {
			return ginjwt.MapClaims{"sub": "user-0123456", "name": "Alice Example", "email": "alice@example.test"}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	token, _, err := guard.TokenGenerator("user-0123456")
	if err != nil {
		t.Fatal(err)
	}
	return &contestant{"appleboy/gin-jwt, its own HS256 tokens", behind(guard.MiddlewareFunc()), always(bearer(token)), bearer(token + "x")}
}

// apis are guards of access tokens that the signer has signed. fresh is how many tokens
// take turns in the row for those that have not been seen lately.
func apis(t *testing.T, s *signer, fresh int) []*contestant {
	token := s.token(t)
	guard := logtoginBearer(t, s)
	var headers []http.Header
	for range fresh {
		headers = append(headers, bearer(s.token(t)))
	}
	contestants := []*contestant{
		{"logtogin, a token seen before", behind(guard), always(bearer(token)), bearer(token + "x")},
		{"logtogin, a new token", behind(guard), inTurn(headers), bearer(token[:len(token)-8] + "AAAAAAAA")},
	}
	for name, guard := range map[string]gin.HandlerFunc{
		"the signature alone (crypto/ecdsa)": rawSignature(s),
		"coreos/go-oidc v3":                  goOIDC(s),
		"auth0/go-jwt-middleware v2":         auth0(t, s),
		"golang-jwt/jwt v5":                  golangJWT(s),
	} {
		contestants = append(contestants, &contestant{name, behind(guard), inTurn(headers), bearer(token[:len(token)-8] + "AAAAAAAA")})
	}
	return contestants
}

func logtoginBearer(tb testing.TB, s *signer) gin.HandlerFunc {
	tb.Helper()
	auth, err := logtogin.New(logtogin.Config{Endpoint: endpoint, HTTPClient: &http.Client{Transport: s}})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = auth.Close() })
	return auth.Bearer(api, logtogin.Scope("read:orders"))
}

// tokenIn is what the handlers of the other libraries begin with.
func tokenIn(c *gin.Context) string {
	_, token, _ := strings.Cut(c.GetHeader("Authorization"), " ")
	return token
}

// refuse ends a request whose token another library does not like.
func refuse(c *gin.Context) { c.AbortWithStatus(http.StatusUnauthorized) }

// rawSignature is what nobody can do without.
func rawSignature(s *signer) gin.HandlerFunc {
	return func(c *gin.Context) {
		token := tokenIn(c)
		last := strings.LastIndexByte(token, '.')
		signature, err := base64.RawURLEncoding.DecodeString(token[last+1:])
		half := len(signature) / 2
		if err != nil || !ecdsa.Verify(&s.key.PublicKey, s.hash([]byte(token[:last])),
			new(big.Int).SetBytes(signature[:half]), new(big.Int).SetBytes(signature[half:])) {
			refuse(c)
		}
	}
}

// claims are those that an API looks at.
type claims struct {
	Scope    string `json:"scope"`
	ClientID string `json:"client_id"`
	jwt.RegisteredClaims
}

func (claims) Validate(context.Context) error { return nil }

func hasScope(scope string) bool {
	for granted := range strings.FieldsSeq(scope) {
		if granted == "read:orders" {
			return true
		}
	}
	return false
}

func goOIDC(s *signer) gin.HandlerFunc {
	verifier := oidc.NewVerifier(issuer, &oidc.StaticKeySet{PublicKeys: []crypto.PublicKey{&s.key.PublicKey}},
		&oidc.Config{ClientID: api, SupportedSigningAlgs: []string{s.algorithm}})
	return func(c *gin.Context) {
		token, err := verifier.Verify(c.Request.Context(), tokenIn(c))
		if err != nil {
			refuse(c)
			return
		}
		var found struct {
			Scope    string `json:"scope"`
			ClientID string `json:"client_id"`
		}
		if token.Claims(&found) != nil || !hasScope(found.Scope) {
			refuse(c)
			return
		}
		c.Set("claims", found)
	}
}

func auth0(t *testing.T, s *signer) gin.HandlerFunc {
	checks, err := validator.New(func(context.Context) (any, error) { return &s.key.PublicKey, nil },
		validator.SignatureAlgorithm(s.algorithm), issuer, []string{api},
		validator.WithCustomClaims(func() validator.CustomClaims { return &claims{} }))
	if err != nil {
		t.Fatal(err)
	}
	middleware := jwtmiddleware.New(checks.ValidateToken)
	return func(c *gin.Context) {
		passed := false
		middleware.CheckJWT(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			found := r.Context().Value(jwtmiddleware.ContextKey{}).(*validator.ValidatedClaims)
			passed = hasScope(found.CustomClaims.(*claims).Scope)
			c.Request = r
		})).ServeHTTP(c.Writer, c.Request)
		if !passed {
			refuse(c)
		}
	}
}

func golangJWT(s *signer) gin.HandlerFunc {
	parser := jwt.NewParser(jwt.WithValidMethods([]string{s.algorithm}), jwt.WithIssuer(issuer), jwt.WithAudience(api), jwt.WithExpirationRequired())
	key := func(*jwt.Token) (any, error) { return &s.key.PublicKey, nil }
	return func(c *gin.Context) {
		var found claims
		if _, err := parser.ParseWithClaims(tokenIn(c), &found, key); err != nil || !hasScope(found.Scope) {
			refuse(c)
			return
		}
		c.Set("claims", &found)
	}
}
