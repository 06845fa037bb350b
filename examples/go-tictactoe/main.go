// Tic-tac-toe for two browsers: the game of the original Channel API documentation, with Pushline.
package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"flag"
	"fmt"
	"html/template"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"pushline.dev/channel"
)

//go:embed page.html game.js style.css
var files embed.FS

var page = template.Must(template.ParseFS(files, "page.html"))

const maxGames = 10_000

func main() {
	listen := flag.String("listen", "127.0.0.1:8000", "where to serve; port 0: a free one")
	flag.Parse()
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("Tic-tac-toe is on http://%s/\n", listener.Addr())
	server := &http.Server{Handler: newSite(newGames(maxGames)), ReadTimeout: 10 * time.Second}
	log.Fatal(server.Serve(listener))
}

// A site is the game as a web program.
type site struct{ games *Games }

func newSite(games *Games) http.Handler {
	s := &site{games}
	mux := http.NewServeMux()
	mux.HandleFunc("/", s.page)
	mux.HandleFunc("/opened", s.opened)
	mux.HandleFunc("/move", s.move)
	static := http.FileServer(http.FS(files))
	mux.Handle("/game.js", static)
	mux.Handle("/style.css", static)
	return mux
}

// page shows the game that the address names by g, or begins one.
func (s *site) page(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/" {
		http.NotFound(w, r)
		return
	}
	if r.Method != http.MethodGet { // a HEAD, such as that of a preview, must not take a seat
		notAllowed(w, http.MethodGet)
		return
	}
	user, key := visitor(w, r), r.FormValue("g")
	if key == "" {
		key = random()
		s.games.add(key, newGame(user))
		http.Redirect(w, r, "/?g="+key, http.StatusSeeOther)
		return
	}
	game, found, _ := s.games.change(key, func(game Game) (Game, bool) { return game.join(user), true })
	if !found {
		http.Error(w, "There is no such game. Begin a new one.", http.StatusNotFound)
		return
	}
	if !game.has(user) {
		http.Error(w, "Both seats are taken. Begin a game of your own.", http.StatusForbidden)
		return
	}
	token, err := channel.Create(r.Context(), clientID(user, key), channel.WithPolicy(channel.Share))
	if err != nil {
		log.Print(err)
		http.Error(w, "Pushline is away. Please try again.", http.StatusBadGateway)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Security-Policy", fmt.Sprintf(
		"default-src 'self'; script-src 'self' %[1]s; connect-src 'self' %[1]s %[2]s; frame-ancestors 'none'",
		pushline(), strings.Replace(pushline(), "http", "ws", 1)))
	data := map[string]any{"Token": token, "Me": user, "Key": key, "Pushline": pushline()}
	if err := page.Execute(w, data); err != nil {
		log.Print(err)
	}
}

// opened is told by a page when its channel is open: now it, and whoever waits for it, is shown the game.
func (s *site) opened(w http.ResponseWriter, r *http.Request) {
	if game, ok := s.change(w, r, func(game Game, user string) (Game, bool) { return game, game.has(user) }); ok {
		tell(r.URL.Query().Get("g"), game)
	}
}

// move is told by a page when its user has clicked a square.
func (s *site) move(w http.ResponseWriter, r *http.Request) {
	square, err := strconv.Atoi(r.URL.Query().Get("i"))
	if err != nil {
		http.Error(w, "i is the number of a square", http.StatusBadRequest)
		return
	}
	if game, ok := s.change(w, r, func(game Game, user string) (Game, bool) { return game.move(user, square) }); ok {
		// With a key the package may repeat what got no answer: nobody is shown a move twice.
		tell(r.URL.Query().Get("g"), game, channel.IdempotencyKey(strconv.Itoa(game.Version)))
	}
}

// change takes a step in the game that the address names by g, and answers.
func (s *site) change(w http.ResponseWriter, r *http.Request, step func(Game, string) (Game, bool)) (Game, bool) {
	if r.Method != http.MethodPost {
		notAllowed(w, http.MethodPost)
		return Game{}, false
	}
	user := visitor(w, r)
	game, found, ok := s.games.change(r.URL.Query().Get("g"), func(game Game) (Game, bool) { return step(game, user) })
	switch {
	case !found:
		http.Error(w, "There is no such game.", http.StatusNotFound)
	case !ok:
		http.Error(w, "That move is not allowed.", http.StatusConflict)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
	return game, ok
}

// tell shows a game to both of its players, also when the one who has moved is gone already.
func tell(key string, game Game, options ...channel.SendOption) {
	for _, user := range []string{game.UserX, game.UserO} {
		if user == "" {
			continue
		}
		if err := channel.SendJSON(context.Background(), clientID(user, key), game, options...); err != nil {
			log.Print(err) // the move stands: the page asks when it is connected again
		}
	}
}

// clientID is what Pushline calls a user at a game, as in the original: who plays two games has two channels.
func clientID(user, key string) string { return user + key }

// visitor is who asks: the name that belongs to a cookie, in place of a login. Both players see the name, and neither
// can make the other's cookie of it.
func visitor(w http.ResponseWriter, r *http.Request) string {
	cookie, err := r.Cookie("visitor")
	if err != nil {
		// Lax: a form of another site cannot move for the user.
		cookie = &http.Cookie{Name: "visitor", Value: random(), Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode}
		http.SetCookie(w, cookie)
	}
	return fmt.Sprintf("%x", sha256.Sum256([]byte(cookie.Value)))[:20]
}

func notAllowed(w http.ResponseWriter, method string) {
	w.Header().Set("Allow", method)
	http.Error(w, "Use "+method+".", http.StatusMethodNotAllowed)
}

// pushline is its address for browsers.
func pushline() string {
	for _, variable := range []string{"PUSHLINE_PUBLIC_URL", "PUSHLINE_URL"} {
		if url := os.Getenv(variable); url != "" {
			return strings.TrimRight(url, "/")
		}
	}
	return "http://127.0.0.1:8080"
}

func random() string {
	bytes := make([]byte, 10)
	if _, err := rand.Read(bytes); err != nil {
		panic(err)
	}
	return hex.EncodeToString(bytes)
}
