package artifact

// format is a kind of file that is known.
type format struct {
	name  string
	sniff func(head []byte, p *part) bool // by the first 4 KiB, or what there is of them; the name decides nothing alone
	scan  func(s *scan, p *part)
}

// formats are tried in order; all that fit are scanned, as a file may be two things at once.
func formats() []format {
	return append([]format{
		safetensorsFormat(), ggufFormat(), templateFormat(), configFormat(),
		onnxFormat(), savedModelFormat(), frozenFormat(),
	}, codeFormats()...)
}
