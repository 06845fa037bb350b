package channel

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// A Status says what became of a message (contract, G6).
type Status string

// The statuses.
const (
	Sent      Status = "sent"       // it was written to a connection
	Queued    Status = "queued"     // it is kept for a page that is away
	NoChannel Status = "no_channel" // nobody has a live token: nothing was kept; of a repeat, nothing is kept any more
	Delivered Status = "delivered"  // a page has acknowledged it; only after [Wait]
)

// A Result is what became of a message. ID names it; it is empty for [NoChannel].
type Result struct {
	ID     string `json:"id"`
	Status Status `json:"status"`
}

// A Client is a client of one Pushline. It may be used by several goroutines at once.
type Client struct {
	// HTTP makes the requests. It follows no redirects and asks no proxy unless it is set to another.
	HTTP *http.Client
	// Timeout is how long one try of a request may take; 10 seconds if zero. The time of [Wait] comes on top.
	Timeout time.Duration

	url string
	// A function, since nothing that prints a client shows what is in it.
	authorize func(http.Header)
}

const (
	defaultTimeout = 10 * time.Second
	// Far more than an answer to one call has.
	maxAnswerBytes = 1 << 20
	// The client id travels in the query: proxies decode %2F in a path, and URL libraries fold . and .. there.
	messages = "/v1/clients/-/messages"
)

// New returns a client of the Pushline at url. What is empty is taken from PUSHLINE_URL, PUSHLINE_API_KEY or
// PUSHLINE_API_KEY_FILE; the error says what to set.
func New(url, apiKey string) (*Client, error) {
	url, apiKey, err := findEndpoint(url, apiKey)
	if err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = nil // it would be told the API key
	transport.MaxIdleConnsPerHost = 16
	refuse := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Client{
		HTTP:      &http.Client{Transport: transport, CheckRedirect: refuse},
		url:       url,
		authorize: func(header http.Header) { header.Set("Authorization", "Bearer "+apiKey) },
	}, nil
}

// Create returns a new token, with which pages connect to the channel of clientID (contract, A1).
func (c *Client) Create(ctx context.Context, clientID string, options ...CreateOption) (token string, err error) {
	// A form, since it carries the bytes of a client id as they are: JSON would mend what is not UTF-8.
	form := url.Values{"client_id": {clientID}}
	for _, option := range options {
		option(form)
	}
	var made struct {
		Token string `json:"token"`
	}
	err = c.ask(ctx, call{
		path:   "/v1/channels",
		header: typed("application/x-www-form-urlencoded"),
		body:   []byte(form.Encode()),
	}, &made)
	return made.Token, err
}

// Send sends a text to clientID, and says what became of it (contract, A2).
func (c *Client) Send(ctx context.Context, clientID, message string, options ...SendOption) (Result, error) {
	return c.send(ctx, clientID, []byte(message), "text/plain; charset=utf-8", options)
}

// SendJSON sends value as JSON to clientID; otherwise it is like [Client.Send].
func (c *Client) SendJSON(ctx context.Context, clientID string, value any, options ...SendOption) (Result, error) {
	body, err := json.Marshal(value)
	if err != nil {
		return Result{}, err
	}
	return c.send(ctx, clientID, body, "application/json", options)
}

func (c *Client) send(
	ctx context.Context, clientID string, body []byte, contentType string, options []SendOption,
) (result Result, err error) {
	chosen := sendOptions{query: url.Values{"client_id": {clientID}}, header: typed(contentType)}
	for _, option := range options {
		option(&chosen)
	}
	if chosen.keyed && !isKey(chosen.key) {
		return Result{}, errors.New("an idempotency key is 1 to 255 printable ASCII characters without spaces")
	}
	err = c.ask(ctx, call{
		path:       messages + "?" + chosen.query.Encode(),
		header:     chosen.header,
		body:       body,
		repeatable: chosen.keyed,
		wait:       chosen.wait,
	}, &result)
	return result, err
}

func typed(contentType string) http.Header {
	return http.Header{"Content-Type": {contentType}}
}

// call is one POST. repeatable tells that it takes effect once even when it is made twice; wait is how long Pushline
// may hold back the answer on purpose.
type call struct {
	path       string
	header     http.Header
	body       []byte
	repeatable bool
	wait       time.Duration
}

// ask makes a call, again if need be, and reads its answer into result.
func (c *Client) ask(ctx context.Context, asked call, result any) error {
	tries := pauses
	for {
		err := c.exchange(ctx, asked, result)
		var lost *lostError
		if !errors.As(err, &lost) {
			return err
		}
		if len(tries) == 0 || ctx.Err() != nil || (lost.sent && !asked.repeatable) {
			return &Unreachable{c.url, lost.reason(ctx)}
		}
		if !pause(ctx, tries[0]) {
			return &Unreachable{c.url, ctx.Err()}
		}
		tries = tries[1:]
	}
}

// exchange makes one try.
func (c *Client) exchange(ctx context.Context, asked call, result any) error {
	timeout := c.Timeout
	if timeout == 0 {
		timeout = defaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout+asked.wait)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+asked.path, bytes.NewReader(asked.body))
	if err != nil {
		return err
	}
	request.Header = asked.header.Clone()
	c.authorize(request.Header)
	request.Header.Set("Accept", "application/json")
	response, err := c.HTTP.Do(request)
	if err != nil {
		return newLostError(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswerBytes))
	if err != nil {
		return newLostError(err)
	}
	return read(response, body, result)
}

// read reads a success into result, and makes a Problem of everything else, whoever sent it.
func read(response *http.Response, body []byte, result any) error {
	if response.StatusCode == http.StatusOK || response.StatusCode == http.StatusCreated {
		if json.Unmarshal(body, result) == nil {
			return nil
		}
	} else {
		var problem Problem
		if json.Unmarshal(body, &problem) == nil && problem.Code != "" {
			problem.Status = response.StatusCode
			return &problem
		}
	}
	return &Problem{response.StatusCode, "unexpected_answer", "The answer is not one of Pushline", describe(response)}
}

// describe has not a word of the body: what stands between might repeat the request there, and with it the API key.
func describe(response *http.Response) string {
	if 300 <= response.StatusCode && response.StatusCode < 400 {
		return "It redirects, and redirects are not followed."
	}
	return fmt.Sprintf("It has status %d and type %q. "+
		"Is PUSHLINE_URL the address of Pushline, and can a proxy before it reach Pushline?",
		response.StatusCode, response.Header.Get("Content-Type"))
}
