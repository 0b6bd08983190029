/* A program that does what it is told, line by line on its standard input, and answers each line with one: threads,
 * children and policies for the tests of real-time scheduling. Ends with its standard input. Each of its threads has
 * small needs: thousands of them fit into a test machine. */
#define _GNU_SOURCE
#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int told[2];

static long thread_id(void) { return syscall(SYS_gettid); }

static void tell(long number) {
    if (write(told[1], &number, sizeof number) != sizeof number) {
        _exit(3);
    }
}

static long hear(void) {
    long number = -1;
    if (read(told[0], &number, sizeof number) != sizeof number) {
        _exit(3);
    }
    return number;
}

static void *wait_for_ever(void *silent) {
    if (silent == NULL) {
        tell(thread_id());
    }
    while (pause() == -1) {
    }
    return NULL;
}

static long long now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000LL + time.tv_nsec / 1000000;
}

/* Never blocks for so many milliseconds. */
static void *spin(void *milliseconds) {
    tell(thread_id());
    long long end = now() + (long)milliseconds;
    while (now() < end) {
    }
    return NULL;
}

static int start(void *(*body)(void *), void *argument) {
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, PTHREAD_STACK_MIN < 65536 ? 65536 : PTHREAD_STACK_MIN);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    return pthread_create(&thread, &attributes, body, argument);
}

/* New threads without end, up to a number. */
static void *storm(void *number) {
    tell(thread_id());
    for (long made = 0; made < (long)number; made++) {
        if (start(wait_for_ever, "silent") != 0) {
            break;
        }
    }
    return wait_for_ever("silent");
}

static long ask(int policy, int priority) {
    struct sched_param parameters = {.sched_priority = priority};
    return sched_setscheduler(0, policy, &parameters) == 0 ? 0 : errno;
}

static long fork_one(void) {
    pid_t parent = getpid();
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        /* It may have ended before that. */
        if (getppid() != parent) {
            _exit(3);
        }
        wait_for_ever("silent");
    }
    return child;
}

/* Nobody: no user, no privileges. */
static long drop(void) {
    if (setgroups(0, NULL) != 0 || setgid(65534) != 0 || setuid(65534) != 0) {
        return errno;
    }
    return 0;
}

int main(void) {
    char word[32];
    long number;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (pipe(told) != 0) {
        return 3;
    }
    while (scanf("%31s %ld", word, &number) == 2) {
        long answer = -1;
        if (strcmp(word, "thread") == 0) {
            answer = start(wait_for_ever, NULL) == 0 ? hear() : -1;
        } else if (strcmp(word, "spin") == 0) {
            answer = start(spin, (void *)number) == 0 ? hear() : -1;
        } else if (strcmp(word, "storm") == 0) {
            answer = start(storm, (void *)number) == 0 ? hear() : -1;
        } else if (strcmp(word, "fork") == 0) {
            answer = fork_one();
        } else if (strcmp(word, "fifo") == 0) {
            answer = ask(SCHED_FIFO, (int)number);
        } else if (strcmp(word, "other") == 0) {
            answer = ask(SCHED_OTHER, 0);
        } else if (strcmp(word, "drop") == 0) {
            answer = drop();
        }
        printf("%ld\n", answer);
        fflush(stdout);
    }
    return 0;
}
