package bulla

import (
	"context"
	"net/http"
	"strings"
	"time"
)

// Opener is whatever opens tokens: *Keys or *KeyFile.
type Opener interface {
	Open(token string, now time.Time) (Opened, error)
}

type contextKey struct{}

// Bearer is net/http middleware: it opens the token of `Authorization: Bearer …` for FromContext, or answers 401, the
// same for every refusal.
func Bearer(keys Opener) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			opened, err := FromRequest(keys, r)
			if err != nil {
				w.Header().Set("WWW-Authenticate", "Bearer")
				w.Header().Set("Cache-Control", "no-store")
				http.Error(w, "token refused", http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), contextKey{}, opened)))
		})
	}
}

// FromContext returns what the request's token says, behind Bearer.
func FromContext(ctx context.Context) (Opened, bool) {
	opened, ok := ctx.Value(contextKey{}).(Opened)
	return opened, ok
}

// FromRequest opens the token of `Authorization: Bearer …`, for middleware of one's own; the error is Refused.
func FromRequest(keys Opener, r *http.Request) (Opened, error) {
	values := r.Header.Values("Authorization")
	// Two headers could be read as one by us and as the other by whoever stands before us.
	if len(values) != 1 {
		return Opened{}, Refused("missing")
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return Opened{}, Refused("missing")
	}
	return keys.Open(token, time.Now())
}
