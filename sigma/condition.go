package sigma

type node struct{}
type search struct{}
