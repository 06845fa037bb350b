module pushline.dev/channel

go 1.19
