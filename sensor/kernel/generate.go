package kernel

// Both objects come of one source. The typed one reads kernel structures directly and needs 6.2.
//go:generate go tool bpf2go -go-package kernel -cc clang-14 -strip llvm-strip-14 -target amd64,arm64 -no-global-types -type header -type process_record -type file_record -type net_record -type unix_record -type unix_key -type unix_repeat -type bytes_record -type call_record -type call_spec -type tally_key -type tally -type settings -type inode_key -type prefix_key -type repeat_key -type repeat -type io_key -type io_total typed bpf/sensor.bpf.c -- -O2 -g -Wall -Werror -mcpu=v3 -DPICKET_TYPED -fdebug-compilation-dir=.
//go:generate go tool bpf2go -go-package kernel -cc clang-14 -strip llvm-strip-14 -target amd64,arm64 -no-global-types portable bpf/sensor.bpf.c -- -O2 -g -Wall -Werror -mcpu=v3 -fdebug-compilation-dir=.
