/* Times the C library of Argon2 at the cost that is given: how many hashes, memory in KiB, passes. Prints nanoseconds. */
#include <argon2.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    uint32_t count = (uint32_t)strtoul(argv[1], NULL, 10);
    uint32_t memory = (uint32_t)strtoul(argv[2], NULL, 10);
    uint32_t passes = (uint32_t)strtoul(argv[3], NULL, 10);
    uint8_t input[32], salt[16], output[32];
    memset(input, 1, sizeof input);
    memset(salt, 2, sizeof salt);
    struct timespec begun, ended;
    clock_gettime(CLOCK_MONOTONIC, &begun);
    for (uint32_t i = 0; i < count; i++) {
        if (argon2id_hash_raw(passes, memory, 1, input, sizeof input, salt, sizeof salt, output, sizeof output) != ARGON2_OK)
            return 1;
        memcpy(input, output, sizeof input);
    }
    clock_gettime(CLOCK_MONOTONIC, &ended);
    printf("%lld\n", (ended.tv_sec - begun.tv_sec) * 1000000000LL + (ended.tv_nsec - begun.tv_nsec));
    return 0;
}
