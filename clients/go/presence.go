package channel

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// A Presence is what became of a client id: a page of it is connected, or none is any more (contract, section 5).
//
// Sequence increases for ever for one client id: what has a lower one than the last that came is late. Time is when it
// came true.
type Presence struct {
	ClientID  string
	Connected bool
	Sequence  int64
	Time      time.Time
}

// ErrInvalidSignature means that Pushline has not sent this callback, or not now. Answer it with 401.
var ErrInvalidSignature = errors.New("the callback is not one of Pushline")

// ErrNoSecret means that there is no secret to verify callbacks with.
var ErrNoSecret = errors.New("there is no secret to verify callbacks with: pass one, or set " +
	"PUSHLINE_WEBHOOK_SECRET or PUSHLINE_WEBHOOK_SECRET_FILE")

const (
	// Far more than a callback has.
	maxPresenceBytes = 64 << 10
	// How far the clocks of both sides may differ: what is older may be a copy that somebody sends again.
	tolerance = 5 * time.Minute
)

// ParsePresence reads a callback of Pushline, from the handler of /_ah/channel/connected/ and /_ah/channel/disconnected/.
//
// One of the secrets is enough; without any they are taken from PUSHLINE_WEBHOOK_SECRET or the file that
// PUSHLINE_WEBHOOK_SECRET_FILE names. It is verified by Standard Webhooks (contract, P2), or the error is
// [ErrInvalidSignature].
func ParsePresence(request *http.Request, secrets ...string) (Presence, error) {
	return parsePresence(request, time.Now(), secrets)
}

func parsePresence(request *http.Request, now time.Time, secrets []string) (Presence, error) {
	if len(secrets) == 0 {
		var err error
		if secrets, err = webhookSecrets(); err != nil {
			return Presence{}, err
		}
	}
	body, err := io.ReadAll(io.LimitReader(request.Body, maxPresenceBytes+1))
	if err != nil {
		return Presence{}, err
	}
	if len(body) > maxPresenceBytes || !isSigned(request.Header, body, now, secrets) {
		return Presence{}, ErrInvalidSignature
	}
	fields, err := formOf(request.Header.Get("Content-Type"), body)
	if err != nil {
		return Presence{}, ErrInvalidSignature
	}
	event, clientID := fields.Get("event"), fields.Get("from")
	sequence, badSequence := strconv.ParseInt(fields.Get("sequence"), 10, 64)
	seconds, badTime := strconv.ParseInt(fields.Get("time"), 10, 64)
	known := event == "connected" || event == "disconnected"
	if !known || clientID == "" || badSequence != nil || badTime != nil {
		return Presence{}, ErrInvalidSignature
	}
	return Presence{clientID, event == "connected", sequence, time.Unix(seconds, 0)}, nil
}

func webhookSecrets() ([]string, error) {
	texts := os.Getenv("PUSHLINE_WEBHOOK_SECRET")
	if texts == "" {
		var err error
		if texts, err = fileOf("PUSHLINE_WEBHOOK_SECRET_FILE"); err != nil {
			return nil, err
		}
	}
	if secrets := strings.Fields(texts); len(secrets) > 0 {
		return secrets, nil
	}
	return nil, ErrNoSecret
}

// isSigned verifies as https://www.standardwebhooks.com says: what is signed is id, time and body, joined by dots.
func isSigned(header http.Header, body []byte, now time.Time, secrets []string) bool {
	id, stamp := header.Get("webhook-id"), header.Get("webhook-timestamp")
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if id == "" || err != nil || now.Sub(time.Unix(seconds, 0)).Abs() > tolerance {
		return false
	}
	good := false
	for _, secret := range secrets {
		mac := hmac.New(sha256.New, keyOf(secret))
		io.WriteString(mac, id+"."+stamp+".")
		mac.Write(body)
		expected := []byte("v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)))
		for _, signature := range strings.Fields(header.Get("webhook-signature")) {
			good = hmac.Equal(expected, []byte(signature)) || good
		}
	}
	return good
}

// keyOf is the rest of a secret that begins with whsec_, from base64. Any other text is a key itself.
func keyOf(secret string) []byte {
	if rest := strings.TrimPrefix(secret, "whsec_"); rest != secret {
		if key, err := base64.StdEncoding.DecodeString(rest); err == nil {
			return key
		}
	}
	return []byte(secret)
}

// formOf is a form of either kind.
func formOf(contentType string, body []byte) (url.Values, error) {
	kind, parameters, err := mime.ParseMediaType(contentType)
	if err != nil || !strings.HasPrefix(kind, "multipart/") {
		return url.ParseQuery(string(body))
	}
	form, err := multipart.NewReader(strings.NewReader(string(body)), parameters["boundary"]).ReadForm(maxPresenceBytes)
	if err != nil {
		return nil, err
	}
	return form.Value, nil
}
