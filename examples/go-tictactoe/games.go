package main

import "sync"

// Games keeps the newest games in memory: when there is no room for another, the oldest goes.
type Games struct {
	mutex sync.Mutex
	games map[string]Game
	ages  []string // keys, the oldest first
	most  int
}

func newGames(most int) *Games {
	return &Games{games: map[string]Game{}, most: most}
}

// add keeps a new game.
func (g *Games) add(key string, game Game) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	if len(g.ages) >= g.most {
		delete(g.games, g.ages[0])
		g.ages = g.ages[1:]
	}
	g.games[key] = game
	g.ages = append(g.ages, key)
}

// change replaces a game by what step makes of it, if that is allowed. Nobody else changes it meanwhile.
func (g *Games) change(key string, step func(Game) (Game, bool)) (game Game, found, ok bool) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	game, found = g.games[key]
	if !found {
		return game, false, false
	}
	if game, ok = step(game); ok {
		g.games[key] = game
	}
	return game, true, ok
}
