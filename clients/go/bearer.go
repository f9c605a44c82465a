package bulla

import (
	"context"
	"net/http"
	"strings"
	"time"
)

// Opener opens tokens. *Keys, *KeyFile and Openers implement it.
type Opener interface {
	// Purpose returns the purpose of the export, of Openers that of the first one.
	Purpose() string
	Open(token string, now time.Time) (Opened, error)
}

type contextKey struct{}

// Bearer is net/http middleware. It opens the token of `Authorization: Bearer …` for FromContext, or answers 401, with the
// same answer for every refusal. It admits tokens of the given purposes; without any, those of the purpose of the (first)
// export. With exports for people and for machines, Bearer(Openers{people, machines}) admits people only, and
// Bearer(Openers{people, machines}, "access", "service") admits both.
func Bearer(keys Opener, purposes ...string) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			opened, err := FromRequest(keys, r, purposes...)
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

// FromContext returns the opened token of a request that Bearer has admitted.
func FromContext(ctx context.Context) (Opened, bool) {
	opened, ok := ctx.Value(contextKey{}).(Opened)
	return opened, ok
}

// FromRequest opens the token of `Authorization: Bearer …`, for custom middleware; the error is Refused. The purposes are
// as for Bearer: a machine's token is Refused("purpose") if only people are admitted.
func FromRequest(keys Opener, r *http.Request, purposes ...string) (Opened, error) {
	values := r.Header.Values("Authorization")
	// With two headers, a proxy in front may have checked the other one.
	if len(values) != 1 {
		return Opened{}, Refused("missing")
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return Opened{}, Refused("missing")
	}
	opened, err := keys.Open(token, time.Now())
	if err != nil {
		return Opened{}, err
	}
	if len(purposes) == 0 {
		purposes = []string{keys.Purpose()}
	}
	for _, purpose := range purposes {
		if opened.Purpose == purpose {
			return opened, nil
		}
	}
	return Opened{}, Refused("purpose")
}
