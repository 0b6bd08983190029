/* Asks for SCHED_FIFO before anything else, as a real-time program does that knows no retry loop.
 * Exits with 0 when it got it and with the error's number when not (1 is EPERM); with an argument it
 * then sleeps for that many seconds. Must not try twice. */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int count, char **arguments) {
    struct sched_param parameters = {.sched_priority = 1};
    if (sched_setscheduler(0, SCHED_FIFO, &parameters) != 0) {
        int error = errno;
        printf("SCHED_FIFO refused: %s\n", strerror(error));
        return error;
    }
    printf("SCHED_FIFO granted\n");
    fflush(stdout);
    if (count > 1) {
        sleep((unsigned)atoi(arguments[1]));
    }
    return 0;
}
