package uprobe

//go:generate go tool bpf2go -go-package uprobe -cc clang-14 -strip llvm-strip-14 -target amd64,arm64 -no-global-types -type mapped real bpf/real.bpf.c -- -O2 -g -Wall -Werror -mcpu=v3 -fdebug-compilation-dir=.
