/*
 * A program that stands in for NVIDIA's nvidia-smi, for hosts without a GPU: it resets a GPU of nvml.c by
 * writing its script anew. Built with -DSCRIPT="path of the script" and -DREADING="path of a file that is
 * there while the library is open". What it refuses and says is as NVIDIA's manual has it. Of the GPU's
 * lines in the script, fail and hang go and ecc becomes 0. Lines of its own:
 *
 *   tool hang    it never ends
 *   tool fail    it fails
 *   tool shout   it says a megabyte
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char text[1 << 20];

int main(int argc, char **argv)
{
	static char out[1 << 20];
	struct stat st;
	char uuid[128], *at;
	if (argc != 4 || strcmp(argv[1], "--gpu-reset") || strcmp(argv[2], "-i") || getuid()) {
		printf("Invalid combination of input arguments.\n");
		return 2;
	}
	FILE *f = fopen(SCRIPT, "r");
	if (!f || !fread(text, 1, sizeof text - 1, f)) {
		printf("No devices were found\n");
		return 6;
	}
	fclose(f);
	snprintf(uuid, sizeof uuid, " uuid=%s ", argv[3]);
	if (!strstr(text, uuid)) {
		printf("No devices were found\n");
		return 6;
	}
	if (!stat(READING, &st) || strstr(text, "\nproc ")) {
		printf("GPU %s is currently in use by another client.\n", argv[3]);
		return 19;
	}
	if (strstr(text, "tool hang"))
		for (;;)
			sleep(60);
	if (strstr(text, "tool fail")) {
		printf("Unable to reset this GPU because it's being \x1b[31mused\x1b[0m.\n");
		return 19;
	}
	for (int i = 0; strstr(text, "tool shout") && i < 1 << 20; i++)
		putchar('x');
	for (char *l = strtok(text, "\n"); l; l = strtok(NULL, "\n")) {
		if (!strncmp(l, "fail ", 5) || !strncmp(l, "hang ", 5))
			continue;
		if (strstr(l, uuid) && (at = strstr(l, " ecc=")))
			for (at += 5; *at && *at != ' '; at++)
				*at = '0';
		strcat(strcat(out, l), "\n");
	}
	f = fopen(SCRIPT ".reset", "w");
	if (!f || fputs(out, f) < 0 || fclose(f) || rename(SCRIPT ".reset", SCRIPT))
		return 255;
	printf("GPU %s was successfully reset.\nAll done.\n", argv[3]);
	return 0;
}
