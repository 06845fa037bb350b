package channel

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Signed by the reference implementation of Standard Webhooks for Python.
const (
	secret    = "whsec_cHVzaGxpbmUtdGhlLXdlYmhvb2stc2VjcmV0"
	signedAt  = 1763957135
	signature = "v1,EjYdfJk+nNexyDuXCVzvtmPYZZjEfPSw1RE2IWO74v0="
	signed    = "from=room%2F%C3%BCn%C3%AF+%26+c%C3%B6%40example.com&event=connected&sequence=1763957135000&time=1763957135"
)

func callback(body, signature string) *http.Request {
	request := httptest.NewRequest("POST", "/_ah/channel/connected/", strings.NewReader(body))
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("webhook-id", "msg_1")
	request.Header.Set("webhook-timestamp", "1763957135")
	request.Header.Set("webhook-signature", signature)
	return request
}

func TestASignedCallbackIsRead(t *testing.T) {
	want := Presence{"room/ünï & cö@example.com", true, 1763957135000, time.Unix(signedAt, 0)}
	for _, signatures := range []string{signature, "v1,b3RoZXI= v2,x " + signature} {
		for _, secrets := range [][]string{{secret}, {"pushline-the-webhook-secret"}, {"another-secret", secret}} {
			got, err := parsePresence(callback(signed, signatures), time.Unix(signedAt+299, 0), secrets)
			if err != nil || got != want {
				t.Errorf("%v with %v: %v, %v", signatures, secrets, got, err)
			}
		}
	}
}

func TestTheSecretComesFromTheEnvironment(t *testing.T) {
	t.Setenv("PUSHLINE_WEBHOOK_SECRET", "")
	t.Setenv("PUSHLINE_WEBHOOK_SECRET_FILE", "")
	if _, err := ParsePresence(callback(signed, signature)); !errors.Is(err, ErrNoSecret) {
		t.Error(err)
	}
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PUSHLINE_WEBHOOK_SECRET_FILE", file)
	if _, err := parsePresence(callback(signed, signature), time.Unix(signedAt, 0), nil); err != nil {
		t.Error(err)
	}
	t.Setenv("PUSHLINE_WEBHOOK_SECRET", "another-secret")
	if _, err := parsePresence(callback(signed, signature), time.Unix(signedAt, 0), nil); err == nil {
		t.Error("the file won over the variable")
	}
}

func TestWhatIsNotSignedOrOldIsRefused(t *testing.T) {
	altered := strings.Replace(signed, "=connected", "=disconnected", 1)
	for name, refused := range map[string]struct {
		body, signature string
		now             int64
		secret          string
	}{
		"another body":    {altered, signature, signedAt, secret},
		"another secret":  {signed, signature, signedAt, "whsec_b3RoZXI="},
		"no signature":    {signed, "", signedAt, secret},
		"no version":      {signed, strings.TrimPrefix(signature, "v1,"), signedAt, secret},
		"too old":         {signed, signature, signedAt + 301, secret},
		"from the future": {signed, signature, signedAt - 301, secret},
		"too long":        {signed + strings.Repeat("x", maxPresenceBytes), signature, signedAt, secret},
	} {
		request := callback(refused.body, refused.signature)
		got, err := parsePresence(request, time.Unix(refused.now, 0), []string{refused.secret})
		if !errors.Is(err, ErrInvalidSignature) || got != (Presence{}) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestAMultipartFormIsReadAlike(t *testing.T) {
	body := "--b\r\nContent-Disposition: form-data; name=\"from\"\r\n\r\nann\r\n" +
		"--b\r\nContent-Disposition: form-data; name=\"event\"\r\n\r\ndisconnected\r\n--b--\r\n"
	fields, err := formOf("multipart/form-data; boundary=b", []byte(body))
	if err != nil || fields.Get("from") != "ann" || fields.Get("event") != "disconnected" {
		t.Error(fields, err)
	}
	if _, err := formOf("multipart/form-data; boundary=c", []byte(body)); err == nil {
		t.Error("it has no such boundary")
	}
}
