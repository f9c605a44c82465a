package bulla

import (
	"errors"
	"time"
)

// Openers are several exports behind one opener: tokens of people and of machines, or of several audiences. The first
// export whose key verifies a token opens it; Opened.Purpose and Opened.Audience say which one that was. There must be at
// least one.
type Openers []Opener

// undecided are the reasons that another export may not share, in the order in which an opener looks.
var undecided = map[Refused]int{"unknown_key": 1, "suite": 2, "unsupported": 3, "length": 4, "tag": 5}

// Purpose returns the purpose of the first export: what Bearer admits unless it is told otherwise.
func (o Openers) Purpose() string {
	if len(o) == 0 {
		return ""
	}
	return o[0].Purpose()
}

// Open opens a token; the error is Refused. Where no export verifies the token, the reason is that of the export that
// came furthest.
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
