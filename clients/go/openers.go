package bulla

import (
	"errors"
	"time"
)

// Openers combine several exports into one opener: for tokens of people and of machines, or of several audiences. The
// first export whose key verifies a token opens it; Opened.Purpose and Opened.Audience say which export that is. There
// must be at least one.
type Openers []Opener

// undecided are the reasons for which another export may still open the token, in the order of an opener's checks.
var undecided = map[Refused]int{"unknown_key": 1, "suite": 2, "unsupported": 3, "length": 4, "tag": 5}

// Purpose returns the purpose of the first export, which Bearer admits by default.
func (o Openers) Purpose() string {
	if len(o) == 0 {
		return ""
	}
	return o[0].Purpose()
}

// Open opens a token; the error is Refused. If no export verifies the token, the reason is that of the export that got
// furthest in its checks.
func (o Openers) Open(token string, now time.Time) (Opened, error) {
	furthest := Refused("unknown_key")
	for _, opener := range o {
		opened, err := opener.Open(token, now)
		var refused Refused
		if !errors.As(err, &refused) || undecided[refused] == 0 {
			return opened, err
		}
		if undecided[refused] > undecided[furthest] {
			furthest = refused
		}
	}
	return Opened{}, furthest
}
