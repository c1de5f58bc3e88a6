package kernel

var calls = []call{
	{2, handleOpen, 0}, {85, handleOpen, 0}, {257, handleOpen, 0}, {437, handleOpen, 0}, {304, handleOpen, 0},
	{82, handleRename, 0}, {264, handleRename, 1}, {316, handleRename, 1},
	{87, handleUnlink, 0}, {84, handleUnlink, 0}, {263, handleUnlink, 1},
	{90, handleChmod, 0}, {91, handleChmod, 1}, {268, handleChmod, 2}, {452, handleChmod, 2},
	{42, handleConnect, 0}, {50, handleListen, 0}, {49, handleListen, 1},
	{43, handleAccept, 0}, {288, handleAccept, 0},
}

// calls32 are the numbers of 32-bit programs. Sockets through socketcall(2) are not among them.
var calls32 = []call{
	{5, handleOpen, 0}, {8, handleOpen, 0}, {295, handleOpen, 0}, {437, handleOpen, 0}, {342, handleOpen, 0},
	{38, handleRename, 0}, {302, handleRename, 1}, {353, handleRename, 1},
	{10, handleUnlink, 0}, {40, handleUnlink, 0}, {301, handleUnlink, 1},
	{15, handleChmod, 0}, {94, handleChmod, 1}, {306, handleChmod, 2}, {452, handleChmod, 2},
	{362, handleConnect, 0}, {363, handleListen, 0}, {361, handleListen, 1},
	{364, handleAccept, 0},
}
