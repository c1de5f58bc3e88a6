package kernel

var calls = []call{
	{56, handleOpen, 0}, {437, handleOpen, 0}, {265, handleOpen, 0},
	{38, handleRename, 1}, {276, handleRename, 1},
	{35, handleUnlink, 1},
	{52, handleChmod, 1}, {53, handleChmod, 2}, {452, handleChmod, 2},
	{203, handleConnect, 0}, {201, handleListen, 0}, {200, handleListen, 1},
	{202, handleAccept, 0}, {242, handleAccept, 0},
	{29, handleControl, 0},
}

// calls32 are the numbers of 32-bit programs.
var calls32 = []call{
	{5, handleOpen, 0}, {8, handleOpen, 0}, {322, handleOpen, 0}, {437, handleOpen, 0}, {371, handleOpen, 0},
	{38, handleRename, 0}, {329, handleRename, 1}, {382, handleRename, 1},
	{10, handleUnlink, 0}, {40, handleUnlink, 0}, {328, handleUnlink, 1},
	{15, handleChmod, 0}, {94, handleChmod, 1}, {333, handleChmod, 2}, {452, handleChmod, 2},
	{283, handleConnect, 0}, {284, handleListen, 0}, {282, handleListen, 1},
	{285, handleAccept, 0}, {366, handleAccept, 0},
	{54, handleControl, 0},
}
