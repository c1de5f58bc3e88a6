package enforce

//go:generate go tool bpf2go -go-package enforce -cc clang-14 -strip llvm-strip-14 -target amd64,arm64 -no-global-types -type violation -type binding -type settings -type peer_key -type peer -type program_key -type script_key -type opened -type device_key -type changing_call bpf bpf/enforce.bpf.c -- -O2 -g -Wall -Werror -mcpu=v3 -fdebug-compilation-dir=.
//go:generate go tool bpf2go -go-package enforce -cc clang-14 -strip llvm-strip-14 -target amd64,arm64 -no-global-types -type tree_key lsm bpf/lsm.bpf.c -- -O2 -g -Wall -Werror -mcpu=v3 -fdebug-compilation-dir=.
