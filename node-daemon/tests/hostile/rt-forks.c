/* Makes processes that ask for SCHED_FIFO and end, without end, as fast as its cgroup lets it. With an argument they live
 * for that many milliseconds. Only for a cgroup with a small budget and a limit of processes. */
#include <sched.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int count, char **arguments) {
    unsigned long life = count > 1 ? strtoul(arguments[1], 0, 10) * 1000 : 0;
    for (;;) {
        pid_t child = fork();
        if (child == 0) {
            struct sched_param parameters = {.sched_priority = 1};
            sched_setscheduler(0, SCHED_FIFO, &parameters);
            if (life) {
                usleep(life);
            }
            _exit(0);
        }
        while (waitpid(-1, 0, child < 0 ? 0 : WNOHANG) > 0) {
        }
    }
}
