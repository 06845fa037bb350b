module tictactoe

go 1.19

require pushline.dev/channel v0.0.0

replace pushline.dev/channel => ../../clients/go
