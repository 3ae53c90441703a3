package main

import (
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/logtogin/logtogin/logtotest"
)

// What is printed at the start.

func announceFake(w io.Writer, cfg config) {
	fmt.Fprintf(w, "No LOGTO_ variable is set: using a fake Logto at %s\n\n", cfg.Logto.Endpoint)
	fmt.Fprintf(w, "  Open     %s\n", cfg.Logto.BaseURL)
	for _, user := range []logtotest.User{alice(), bob()} {
		fmt.Fprintf(w, "  User     %-12s password %s\n", user.Username, user.Password)
	}
	fmt.Fprintf(w, "  Machine  %-12s secret   %s\n\n", machine().ID, machine().Secret)
	if cfg.RedisAddr != "" {
		fmt.Fprintf(w, "A second instance:\n\n  %s \\\n  go run ./_example\n\n", strings.Join(secondInstance(cfg), " \\\n  "))
	}
}

// secondInstance are the variables with which another instance does the same as this one,
// which is what a proxy in front of both expects.
func secondInstance(cfg config) []string {
	return []string{
		"REDIS_ADDR=" + cfg.RedisAddr,
		"ADDR=" + nextAddr(cfg.OwnURL),
		"LOGTO_BASE_URL=" + cfg.Logto.BaseURL,
		"LOGTO_ENDPOINT=" + cfg.Logto.Endpoint,
		"LOGTO_APP_ID=" + cfg.Logto.AppID,
		"LOGTO_APP_SECRET=" + cfg.Logto.AppSecret,
		"LOGTO_RESOURCES=" + strings.Join(cfg.Logto.Resources, " "),
		"LOGTO_AFTER_SIGN_OUT=" + cfg.Logto.AfterSignOut,
		"LOGTO_SESSION_LIFETIME=" + cfg.Logto.SessionLifetime.String(),
		"LOGTO_WEBHOOK_SIGNING_KEY=" + cfg.WebhookSigningKey,
	}
}

// nextAddr is the port after that of an address.
func nextAddr(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "localhost:0"
	}
	port, _ := strconv.Atoi(u.Port())
	return net.JoinHostPort(u.Hostname(), strconv.Itoa(port+1))
}

func announce(w io.Writer, cfg config) {
	base := strings.TrimRight(cfg.Logto.BaseURL, "/")
	fmt.Fprintf(w, "Using the Logto at %s\n\n", cfg.Logto.Endpoint)
	fmt.Fprintf(w, "  Open                        %s\n", base)
	if cfg.OwnURL != base {
		fmt.Fprintf(w, "  This instance               %s\n", cfg.OwnURL)
	}
	fmt.Fprintf(w, "  Redirect URI                %s/callback\n", base)
	if after := cfg.Logto.AfterSignOut; after != "" {
		if strings.HasPrefix(after, "/") {
			after = base + after
		}
		fmt.Fprintf(w, "  Post sign-out redirect URI  %s\n", after)
	}
	fmt.Fprintf(w, "  Backchannel logout URI      %s%s\n", base, backchannelLogoutPath)
	if cfg.WebhookSigningKey != "" {
		fmt.Fprintf(w, "  Webhook                     %s%s\n", base, webhookPath)
	}
	if cfg.RedisAddr != "" && strings.HasPrefix(cfg.Logto.Endpoint, "http://127.0.0.1:") {
		// As secondInstance has said; it may be a Logto of the developer's own all the same.
		fmt.Fprint(w, "\nThe fake Logto of the first instance knows these addresses. In a real one, register them in the Logto Console.\n\n")
		return
	}
	fmt.Fprint(w, "\nRegister these addresses in the Logto Console.\n\n")
}
