package main

import "strings"

// A Game is a value: a move makes the next one. It is what the pages get, as JSON.
type Game struct {
	Board   string `json:"board"` // nine characters, row by row
	UserX   string `json:"userX"`
	UserO   string `json:"userO"` // empty until somebody has joined
	MoveX   bool   `json:"moveX"` // it is X's turn
	Winner  string `json:"winner"`
	Line    []int  `json:"line"`
	Version int    `json:"version"` // a page shows the newest that it was told
}

const empty = "         "

var lines = [][]int{{0, 1, 2}, {3, 4, 5}, {6, 7, 8}, {0, 3, 6}, {1, 4, 7}, {2, 5, 8}, {0, 4, 8}, {2, 4, 6}}

// newGame is one in which user is X.
func newGame(user string) Game {
	return Game{Board: empty, UserX: user, MoveX: true, Version: 1}
}

// has tells whether user is one of the players.
func (g Game) has(user string) bool { return user == g.UserX || user == g.UserO }

// join gives user the seat of O, if it is free.
func (g Game) join(user string) Game {
	if g.UserO == "" && !g.has(user) {
		g.UserO = user
		g.Version++
	}
	return g
}

// move puts user's mark on a square; ok tells whether the rules allow it.
func (g Game) move(user string, square int) (next Game, ok bool) {
	mark, mover := "O", g.UserO
	if g.MoveX {
		mark, mover = "X", g.UserX
	}
	if user != mover || g.UserO == "" || g.Winner != "" || square < 0 || square >= len(g.Board) || g.Board[square] != ' ' {
		return g, false
	}
	g.Board = g.Board[:square] + mark + g.Board[square+1:]
	g.MoveX = !g.MoveX
	g.Version++
	for _, line := range lines {
		if strings.Count(string([]byte{g.Board[line[0]], g.Board[line[1]], g.Board[line[2]]}), mark) == 3 {
			g.Winner, g.Line = mark, line
		}
	}
	return g, true
}
