package main

import "testing"

// play lets X and O move in turn, and reports what is not allowed.
func play(t *testing.T, squares ...int) Game {
	t.Helper()
	game := newGame("xaver").join("olga")
	for number, square := range squares {
		next, ok := game.move([]string{"xaver", "olga"}[number%2], square)
		if !ok {
			t.Fatalf("move %d to square %d was refused: %+v", number, square, game)
		}
		game = next
	}
	return game
}

func TestEveryLineWins(t *testing.T) {
	for _, line := range lines {
		others := []int{}
		for square := 0; square < 9; square++ {
			if square != line[0] && square != line[1] && square != line[2] {
				others = append(others, square)
			}
		}
		game := play(t, line[0], others[0], line[1], others[1], line[2])
		if game.Winner != "X" || len(game.Line) != 3 || game.Line[0] != line[0] {
			t.Errorf("%v: %+v", line, game)
		}
		if _, ok := game.move("olga", others[2]); ok {
			t.Errorf("%v: a move after the end", line)
		}
	}
	if game := play(t, 0, 2, 1, 4, 8, 6); game.Winner != "O" {
		t.Errorf("%+v", game)
	}
}

func TestADraw(t *testing.T) {
	game := play(t, 0, 1, 2, 4, 3, 5, 7, 6, 8)
	if game.Winner != "" || game.Board != "XOXXOOOXX" {
		t.Errorf("%+v", game)
	}
}

func TestWhatTheRulesForbidChangesNothing(t *testing.T) {
	if _, ok := newGame("xaver").move("xaver", 0); ok {
		t.Error("a move before O has joined")
	}
	game := play(t, 4)
	for _, refused := range []struct {
		user   string
		square int
	}{{"xaver", 0}, {"olga", 4}, {"olga", 9}, {"olga", -1}, {"otto", 0}, {"", 0}} {
		if next, ok := game.move(refused.user, refused.square); ok || next.Board != game.Board {
			t.Errorf("%+v: %+v", refused, next)
		}
	}
	if game.join("otto").UserO != "olga" || newGame("xaver").join("xaver").UserO != "" {
		t.Error("a seat was taken twice")
	}
}

func TestTheOldestGameGoes(t *testing.T) {
	games := newGames(2)
	for _, key := range []string{"a", "b", "c"} {
		games.add(key, newGame(key))
	}
	for key, want := range map[string]bool{"a": false, "b": true, "c": true} {
		if _, found, _ := games.change(key, func(game Game) (Game, bool) { return game, true }); found != want {
			t.Error(key, found)
		}
	}
}
