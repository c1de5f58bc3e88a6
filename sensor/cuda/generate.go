package cuda

//go:generate go tool bpf2go -go-package cuda -cc clang-14 -strip llvm-strip-14 -target amd64,arm64 -no-global-types -type call -type total -type total_key cuda bpf/cuda.bpf.c -- -O2 -g -Wall -Werror -mcpu=v3 -fdebug-compilation-dir=.
