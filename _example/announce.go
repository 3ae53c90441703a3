package main

import (
	"fmt"
	"io"
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
	fmt.Fprint(w, "\nRegister these addresses in the Logto Console.\n\n")
}
