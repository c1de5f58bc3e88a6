package kernel

import "unsafe"

const bytesSize = int(unsafe.Sizeof(typedBytesRecord{}))

// carried returns what a process sent or got, and how much it was before it was cut.
func carried(raw []byte) (b []byte, whole int, err error) {
	r, err := record[typedBytesRecord](raw)
	if err != nil {
		return nil, 0, err
	}
	if int(r.Len) > len(raw)-bytesSize {
		return nil, 0, errLength
	}
	return raw[bytesSize : bytesSize+int(r.Len)], int(r.Whole), nil
}
