package logtogin

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// ConfigFromEnv reads a Config from environment variables:
//
//	LOGTO_ENDPOINT, LOGTO_APP_ID, LOGTO_APP_SECRET, LOGTO_BASE_URL
//	LOGTO_SCOPES, LOGTO_RESOURCES, LOGTO_SECRETS,
//	LOGTO_PREVIOUS_APP_SECRETS, LOGTO_TRUSTED_ORIGINS   separated by spaces
//	LOGTO_PROMPT                                        "consent", "login consent", "login", "none" or "-"
//	LOGTO_AFTER_SIGN_IN, LOGTO_AFTER_SIGN_OUT
//	LOGTO_SESSION_LIFETIME, LOGTO_IDLE_TIMEOUT,
//	LOGTO_REVALIDATE_AFTER, LOGTO_MAX_STALE,
//	LOGTO_STORE_TIMEOUT, LOGTO_CLOCK_SKEW               as "336h", "60s"
//
// Each stands for the field of Config with that name; one that is unset or
// empty leaves the field at its default. The error is a *ConfigError and tells
// of a value that cannot be read; whether the values make sense is found out
// by New.
func ConfigFromEnv() (Config, error) {
	cfg := Config{
		Endpoint:           os.Getenv("LOGTO_ENDPOINT"),
		AppID:              os.Getenv("LOGTO_APP_ID"),
		AppSecret:          os.Getenv("LOGTO_APP_SECRET"),
		BaseURL:            os.Getenv("LOGTO_BASE_URL"),
		Scopes:             strings.Fields(os.Getenv("LOGTO_SCOPES")),
		Resources:          strings.Fields(os.Getenv("LOGTO_RESOURCES")),
		Secrets:            strings.Fields(os.Getenv("LOGTO_SECRETS")),
		PreviousAppSecrets: strings.Fields(os.Getenv("LOGTO_PREVIOUS_APP_SECRETS")),
		TrustedOrigins:     strings.Fields(os.Getenv("LOGTO_TRUSTED_ORIGINS")),
		Prompt:             Prompt(os.Getenv("LOGTO_PROMPT")),
		AfterSignIn:        os.Getenv("LOGTO_AFTER_SIGN_IN"),
		AfterSignOut:       os.Getenv("LOGTO_AFTER_SIGN_OUT"),
	}
	for _, duration := range []struct {
		field, variable string
		value           *time.Duration
	}{
		{"SessionLifetime", "LOGTO_SESSION_LIFETIME", &cfg.SessionLifetime},
		{"IdleTimeout", "LOGTO_IDLE_TIMEOUT", &cfg.IdleTimeout},
		{"RevalidateAfter", "LOGTO_REVALIDATE_AFTER", &cfg.RevalidateAfter},
		{"MaxStale", "LOGTO_MAX_STALE", &cfg.MaxStale},
		{"StoreTimeout", "LOGTO_STORE_TIMEOUT", &cfg.StoreTimeout},
		{"ClockSkew", "LOGTO_CLOCK_SKEW", &cfg.ClockSkew},
	} {
		text := os.Getenv(duration.variable)
		if text == "" {
			continue
		}
		parsed, err := time.ParseDuration(text)
		if err != nil {
			return Config{}, &ConfigError{duration.field, fmt.Sprintf(`cannot be read from %s=%q; write a duration such as "336h" or "90s"`, duration.variable, text)}
		}
		*duration.value = parsed
	}
	return cfg, nil
}
