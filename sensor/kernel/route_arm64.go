package kernel

var calls = []call{
	{56, handleOpen, 0}, {437, handleOpen, 0}, {265, handleOpen, 0},
	{38, handleRename, 1}, {276, handleRename, 1},
	{35, handleUnlink, 1},
	{52, handleChmod, 1}, {53, handleChmod, 2}, {452, handleChmod, 2},
	{203, handleConnect, 0}, {201, handleListen, 0}, {200, handleListen, 1},
	{202, handleAccept, 0}, {242, handleAccept, 0},
	{37, handleLink, 1}, {36, handleLink, 3},
	{34, handleMkdir, 1},
	{45, handleTruncate, 0}, {46, handleTruncate, 1}, {47, handleTruncate, 2},
	{55, handleChown, 1}, {54, handleChown, 2},
	{5, handleAttribute, 0}, {6, handleAttribute, 0}, {7, handleAttribute, 1},
	{14, handleAttribute, 4}, {15, handleAttribute, 4}, {16, handleAttribute, 5},
	{463, handleAttribute, 2}, {466, handleAttribute, 6},
	{222, handleMap, 0}, {226, handleProtect, 0},
	{63, handleIO, 0}, {65, handleIO, 0}, {67, handleIO, 0}, {69, handleIO, 0}, {286, handleIO, 0},
	{64, handleIO, 1}, {66, handleIO, 1}, {68, handleIO, 1}, {70, handleIO, 1}, {287, handleIO, 1},
	{71, handleIO, 2}, {76, handleIO, 3}, {285, handleIO, 3},
}

// calls32 are the numbers of 32-bit programs.
var calls32 = []call{
	{5, handleOpen, 0}, {8, handleOpen, 0}, {322, handleOpen, 0}, {437, handleOpen, 0}, {371, handleOpen, 0},
	{38, handleRename, 0}, {329, handleRename, 1}, {382, handleRename, 1},
	{10, handleUnlink, 0}, {40, handleUnlink, 0}, {328, handleUnlink, 1},
	{15, handleChmod, 0}, {94, handleChmod, 1}, {333, handleChmod, 2}, {452, handleChmod, 2},
	{283, handleConnect, 0}, {284, handleListen, 0}, {282, handleListen, 1},
	{285, handleAccept, 0}, {366, handleAccept, 0},
	{9, handleLink, 0}, {330, handleLink, 1}, {83, handleLink, 2}, {331, handleLink, 3},
	{39, handleMkdir, 0}, {323, handleMkdir, 1},
	{92, handleTruncate, 0}, {193, handleTruncate, 3}, {93, handleTruncate, 1}, {194, handleTruncate, 1}, {352, handleTruncate, 2},
	{212, handleChown, 0}, {198, handleChown, 0}, {207, handleChown, 1}, {325, handleChown, 2},
	{182, handleChown, 4}, {16, handleChown, 4}, {95, handleChown, 5},
	{226, handleAttribute, 0}, {227, handleAttribute, 0}, {228, handleAttribute, 1},
	{235, handleAttribute, 4}, {236, handleAttribute, 4}, {237, handleAttribute, 5},
	{463, handleAttribute, 2}, {466, handleAttribute, 6},
	{192, handleMap, 0}, {125, handleProtect, 0},
	{3, handleIO, 0}, {145, handleIO, 0}, {180, handleIO, 0}, {361, handleIO, 0}, {392, handleIO, 0},
	{4, handleIO, 1}, {146, handleIO, 1}, {181, handleIO, 1}, {362, handleIO, 1}, {393, handleIO, 1},
	{187, handleIO, 2}, {239, handleIO, 2}, {340, handleIO, 3}, {391, handleIO, 3},
}
