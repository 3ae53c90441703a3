package main

import (
	"net/http"
	"slices"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
)

// The application's own API, for itself and for other programs, in Logto's three
// permission models.

func (a *application) addAPI(router gin.IRouter) {
	api, team := router.Group("/api"), logtogin.FromParam("team")
	api.GET("/teams/:team/members", a.auth.BearerOrganization(team, logtogin.Scope(readMembers)), listMembers)
	if a.OrdersAPI == "" {
		api.GET("/whoami", a.auth.Guard(), sayWho)
		return
	}
	api.GET("/whoami", a.auth.SessionOrBearer(a.auth.Guard(), a.auth.Bearer(a.OrdersAPI)), sayWho)
	// Not readTeamOrders: a token that names no organization has the permissions of all of the user's.
	api.GET("/orders", a.auth.Bearer(a.OrdersAPI, logtogin.Scope(readOrders)), listOrders)
	api.GET("/teams/:team/orders", a.auth.Bearer(a.OrdersAPI, logtogin.InOrganization(team), logtogin.Scope(readTeamOrders)), listTeamOrders)
	api.POST("/jobs", a.auth.Bearer(a.OrdersAPI, logtogin.MachineOnly()), startJob)
}

type order struct {
	Number int    `json:"number"`
	Team   string `json:"team"`
	Item   string `json:"item"`
}

var orders = []order{
	{1, "acme", "anvil"},
	{2, "acme", "rocket skates"},
	{3, "globex", "moon laser"},
}

var members = map[string][]string{
	"acme":   {"alice", "bob"},
	"globex": {"alice"},
}

func listOrders(c *gin.Context) {
	c.JSON(http.StatusOK, gin.H{"orders": orders})
}

func listTeamOrders(c *gin.Context) {
	team := c.GetString(logtogin.OrganizationKey)
	own := slices.DeleteFunc(slices.Clone(orders), func(o order) bool { return o.Team != team })
	c.JSON(http.StatusOK, gin.H{"team": team, "orders": own})
}

func listMembers(c *gin.Context) {
	team := c.GetString(logtogin.OrganizationKey)
	c.JSON(http.StatusOK, gin.H{"team": team, "members": append([]string{}, members[team]...)})
}

func sayWho(c *gin.Context) {
	if claims, ok := logtogin.ClaimsFrom(c); ok {
		c.JSON(http.StatusOK, gin.H{"by": "session", "sub": claims.Subject, "name": nameOf(claims)})
		return
	}
	claims, _ := logtogin.AccessTokenClaimsFrom(c)
	c.JSON(http.StatusOK, gin.H{"by": "bearer token", "sub": claims.Subject, "client_id": claims.ClientID, "machine": claims.IsMachine()})
}

func startJob(c *gin.Context) {
	claims, _ := logtogin.AccessTokenClaimsFrom(c)
	c.JSON(http.StatusAccepted, gin.H{"accepted_from": claims.ClientID})
}
