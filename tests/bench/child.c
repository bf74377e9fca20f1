/* The smallest child: appends "pid nanoseconds\n" (CLOCK_MONOTONIC) to the file argv[1] as its first act.
   With argv[2], a number of 4 KiB blocks, it writes those to standard output then and appends another record; argv[3] is
   the number of bytes of one write, 4096 without it. A line is 64 bytes.
   Then it waits to be ended. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void record(const char *path)
{
    struct timespec now;
    char line[64];
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT, 0644);
    clock_gettime(CLOCK_MONOTONIC, &now);
    int length = snprintf(line, sizeof line, "%d %lld\n", (int)getpid(),
                          (long long)now.tv_sec * 1000000000LL + now.tv_nsec);
    if (fd < 0 || write(fd, line, (size_t)length) != length)
        _exit(111);
    close(fd);
}

int main(int argc, char **argv)
{
    static char block[4096];
    size_t piece = argc > 3 ? (size_t)atol(argv[3]) : sizeof block;
    record(argv[1]);
    if (argc > 2) {
        memset(block, 'x', sizeof block);
        for (size_t at = 63; at < sizeof block; at += 64)
            block[at] = '\n';
        for (long left = atol(argv[2]); left > 0; left--)
            for (size_t done = 0; done < sizeof block;) {
                size_t length = sizeof block - done < piece ? sizeof block - done : piece;
                ssize_t written = write(1, block + done, length);
                if (written < 0)
                    _exit(112);
                done += (size_t)written;
            }
        record(argv[1]);
    }
    for (;;)
        pause();
}
