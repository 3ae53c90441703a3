package main

import (
	"cmp"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
)

// The routes of pages that not everybody may see.
const (
	adminRoute     = "/admin"
	diagnosisRoute = "/diagnosis"
	editorsRoute   = "/editors"
	teamRoute      = "/teams/:team"
	billingRoute   = "/teams/:team/billing"
	paymentsRoute  = "/payments"
)

// needs is what the page itself and the page for those who may not see it say, by route.
var needs = map[string]string{
	adminRoute:     "the role “admin”",
	diagnosisRoute: "the role “admin”",
	editorsRoute:   "the role “editor” or “admin”",
	teamRoute:      "membership of this organization",
	billingRoute:   "the role “owner” in this organization",
	paymentsRoute:  "a sign-in with the password within the last 5 minutes",
}

func (a *application) addRights(router gin.IRouter) {
	router.GET("/rights", a.auth.Optional(), a.showRights)
	router.GET("/teams", a.auth.Guard(), a.showTeams)

	team := logtogin.FromParam("team")
	router.GET(adminRoute, a.auth.Guard(logtogin.Role("admin")), a.showAdmin)
	router.GET(diagnosisRoute, a.auth.Guard(logtogin.Role("admin")), a.showDiagnosis)
	router.GET(editorsRoute, a.auth.Guard(logtogin.AnyOf(logtogin.Role("editor"), logtogin.Role("admin"))), showEditors)
	router.GET(teamRoute, a.auth.Guard(logtogin.InOrganization(team)), showTeam)
	router.GET(billingRoute, a.auth.Guard(logtogin.OrganizationRole(team, "owner")), showBilling)
	router.GET(paymentsRoute, a.auth.Guard(logtogin.MaxAge(5*time.Minute)), showPayments)
}

// fact is a line of a page.
type fact struct{ Name, Value string }

// link is a link to a page and what that needs.
type link struct{ Path, Name, Needs string }

// allowedPage is what somebody sees who has the right.
type allowedPage struct {
	Needs string
	Facts []fact
	Teams []team // to switch to
	Next  *link
}

func showAllowed(c *gin.Context, title string, allowed allowedPage) {
	allowed.Needs = needs[c.FullPath()]
	show(c, "allowed.html", title, allowed)
}

func (a *application) showRights(c *gin.Context) {
	links := []link{
		{"/protected", "Protected page", "a sign-in"},
		{adminRoute, "Administration", needs[adminRoute]},
		{diagnosisRoute, "Diagnosis", needs[diagnosisRoute]},
		{editorsRoute, "Editors", needs[editorsRoute]},
		{paymentsRoute, "Payments", needs[paymentsRoute]},
	}
	if claims, ok := logtogin.ClaimsFrom(c); ok {
		for _, team := range teamsOf(&claims.UserClaims) {
			links = append(links,
				link{team.Path, "Team " + team.Name, needs[teamRoute]},
				link{team.Path + "/billing", "Billing of " + team.Name, needs[billingRoute]})
		}
	}
	show(c, "rights.html", "Rights", links)
}

// showAdmin is where an operator looks first.
func (a *application) showAdmin(c *gin.Context) {
	logto, state, webhooks := "answers", "this process", "not received: no signing key is set"
	if err := a.auth.Ready(c.Request.Context()); err != nil {
		logto = "does not answer"
	}
	if a.RedisAddr != "" {
		state = "Redis at " + a.RedisAddr
	}
	if a.WebhookSigningKey != "" {
		webhooks = "received at " + webhookPath
	}
	showAllowed(c, "Administration", allowedPage{Facts: []fact{
		{"Logto", a.Logto.Endpoint + " " + logto},
		{"Base URL", a.Logto.BaseURL},
		{"This instance", a.OwnURL},
		{"Shared state", state},
		{"Webhooks", webhooks},
	}, Next: &link{Path: diagnosisRoute, Name: "Diagnosis"}})
}

// showDiagnosis tells how the application is set up, which is not for everybody.
func (a *application) showDiagnosis(c *gin.Context) {
	show(c, "diagnosis.html", "Diagnosis", a.auth.Diagnose(c.Request.Context()))
}

func showEditors(c *gin.Context) {
	claims := c.MustGet(logtogin.ClaimsKey).(*logtogin.Claims)
	showAllowed(c, "Editors", allowedPage{Facts: []fact{{"Your roles", strings.Join(claims.Roles, ", ")}}})
}

func showPayments(c *gin.Context) {
	claims := c.MustGet(logtogin.ClaimsKey).(*logtogin.Claims)
	showAllowed(c, "Payments", allowedPage{Facts: []fact{{"You signed in", readable(claims.AuthTime)}}})
}

// team is an organization of the user.
type team struct {
	ID, Name, Path string
	Roles          []string
}

func newTeam(id string) team {
	return team{ID: id, Name: id, Path: "/teams/" + url.PathEscape(id)}
}

func teamsOf(user *logtogin.UserClaims) []team {
	var teams []team
	for _, id := range user.Organizations {
		found := newTeam(id)
		for _, data := range user.OrganizationData {
			if data.ID == id {
				found.Name = cmp.Or(data.Name, id)
			}
		}
		for _, role := range user.OrganizationRoles {
			if name, ok := strings.CutPrefix(role, id+":"); ok {
				found.Roles = append(found.Roles, name)
			}
		}
		teams = append(teams, found)
	}
	return teams
}

// showTeams asks for user info, because the names of organizations are not in ID tokens
// unless a tenant says so.
func (a *application) showTeams(c *gin.Context) {
	user := &c.MustGet(logtogin.ClaimsKey).(*logtogin.Claims).UserClaims
	info, err := a.auth.UserInfo(c)
	switch {
	case err == nil:
		user = &info.UserClaims
	case logtogin.StatusCode(err) == http.StatusUnauthorized: // the session has just ended
		a.auth.Refuse(c, err)
		return
	default:
		slog.ErrorContext(c.Request.Context(), "cannot fetch the names of organizations", "error", err)
	}
	show(c, "teams.html", "Your teams", teamsOf(user))
}

func showTeam(c *gin.Context) {
	teams, current := currentTeam(c)
	showAllowed(c, "Team "+current.Name, allowedPage{
		Facts: []fact{{"Organization", current.ID}, {"Your roles in it", strings.Join(current.Roles, ", ")}},
		Teams: teams,
		Next:  &link{current.Path + "/billing", "Billing of " + current.Name, needs[billingRoute]},
	})
}

func showBilling(c *gin.Context) {
	teams, current := currentTeam(c)
	showAllowed(c, "Billing of "+current.Name, allowedPage{
		Facts: []fact{{"Organization", current.ID}, {"Invoices", "none"}},
		Teams: teams,
		Next:  &link{current.Path, "Team " + current.Name, needs[teamRoute]},
	})
}

// currentTeam goes by what the guard has matched, which user info may have told: the claims
// of an ID token need not name the organization.
func currentTeam(c *gin.Context) (teams []team, current team) {
	teams = teamsOf(&c.MustGet(logtogin.ClaimsKey).(*logtogin.Claims).UserClaims)
	id := c.GetString(logtogin.OrganizationKey)
	for _, team := range teams {
		if team.ID == id {
			return teams, team
		}
	}
	return teams, newTeam(id)
}
