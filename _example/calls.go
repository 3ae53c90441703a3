package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
)

func (a *application) addCalls(router gin.IRouter) {
	router.GET("/calls", a.auth.Guard(), a.showCalls)
	router.POST("/calls", a.auth.Guard(), a.call)
}

// apiCall is a request to the API that a user can ask for.
type apiCall struct {
	Method, Path, Needs string
	options             []logtogin.TokenOption // of the token that is sent
}

func (a *application) apiCalls(claims *logtogin.Claims) []apiCall {
	var calls []apiCall
	resource := logtogin.Resource(a.OrdersAPI)
	if a.OrdersAPI != "" {
		calls = append(calls,
			apiCall{http.MethodGet, "/api/whoami", "a session or a token for the API resource", []logtogin.TokenOption{resource}},
			apiCall{http.MethodGet, "/api/orders", "the permission " + readOrders + " of the API resource", []logtogin.TokenOption{resource}},
			apiCall{http.MethodPost, "/api/jobs", "a token of a machine, which yours is not", []logtogin.TokenOption{resource}})
	}
	for _, id := range claims.Organizations {
		organization, path := logtogin.Organization(id), "/api/teams/"+url.PathEscape(id)
		if a.OrdersAPI != "" {
			calls = append(calls, apiCall{http.MethodGet, path + "/orders", "the permission " + readTeamOrders + " of the API resource within " + id,
				[]logtogin.TokenOption{resource, organization}})
		}
		calls = append(calls, apiCall{http.MethodGet, path + "/members", "the permission " + readMembers + " of the organization " + id,
			[]logtogin.TokenOption{organization}})
	}
	return calls
}

// answer is what the API said, or why it could not be asked.
type answer struct {
	Request, Status, Challenge, Body, Problem string
}

type callsPage struct {
	Calls  []apiCall
	Answer *answer
}

func (a *application) showCalls(c *gin.Context) {
	claims := c.MustGet(logtogin.ClaimsKey).(*logtogin.Claims)
	show(c, "calls.html", "Call the API", callsPage{Calls: a.apiCalls(claims)})
}

// call sends requests of the list only: an address that comes from the browser could be
// any, and would get the user's token.
func (a *application) call(c *gin.Context) {
	claims := c.MustGet(logtogin.ClaimsKey).(*logtogin.Claims)
	calls := a.apiCalls(claims)
	for _, call := range calls {
		if call.Path != c.PostForm("path") {
			continue
		}
		answer, err := a.send(c, call)
		if logtogin.StatusCode(err) == http.StatusUnauthorized { // the session has just ended
			a.auth.Refuse(c, err)
			return
		}
		if err != nil {
			slog.ErrorContext(c.Request.Context(), "cannot call the API", "path", call.Path, "error", err)
			answer.Problem = "The API could not be called. Please try again in a moment."
		}
		show(c, "calls.html", "Call the API", callsPage{calls, answer})
		return
	}
	showNotFound(c)
}

const maxAnswer = 64 << 10

func (a *application) send(c *gin.Context, call apiCall) (*answer, error) {
	result := &answer{Request: call.Method + " " + call.Path}
	request, err := http.NewRequestWithContext(c.Request.Context(), call.Method, a.OwnURL+call.Path, nil)
	if err != nil {
		return result, err
	}
	response, err := a.auth.HTTPClient(c, call.options...).Do(request)
	if err != nil {
		return result, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return result, err
	}
	result.Status = fmt.Sprintf("%d %s", response.StatusCode, http.StatusText(response.StatusCode))
	result.Challenge = response.Header.Get("WWW-Authenticate")
	result.Body = string(body)
	var pretty bytes.Buffer
	if json.Indent(&pretty, body, "", "  ") == nil {
		result.Body = pretty.String()
	}
	return result, nil
}
