package python

//go:generate go tool bpf2go -go-package python -cc clang-14 -strip llvm-strip-14 -target amd64,arm64 -no-global-types -type audit -type place -type wanted python bpf/python.bpf.c -- -O2 -g -Wall -Werror -mcpu=v3 -fdebug-compilation-dir=.
