package channel

import "fmt"

// A Problem is what Pushline refuses a request with (RFC 9457): Code is its stable name, Title and Detail are sentences
// for people.
//
//	var problem *channel.Problem
//	if errors.As(err, &problem) && problem.Code == "store_full" { … }
//
// Code is "unexpected_answer" when what answered is not Pushline.
type Problem struct {
	Status int    `json:"status"`
	Code   string `json:"code"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
}

func (p *Problem) Error() string {
	return fmt.Sprintf("%s: %s (%d %s)", p.Title, p.Detail, p.Status, p.Code)
}

// Unreachable means that no answer came from Pushline: URL was asked, Err says what went wrong.
//
// Whether the request took effect is not known. A send with an idempotency key may be repeated.
type Unreachable struct {
	URL string
	Err error
}

func (u *Unreachable) Error() string {
	return fmt.Sprintf("Pushline at %s could not be reached: %v", u.URL, u.Err)
}

// Unwrap returns what went wrong: of a context that ended, its error.
func (u *Unreachable) Unwrap() error { return u.Err }
