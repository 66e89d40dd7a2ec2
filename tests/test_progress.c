/* vae_print_progress on terminals of several widths, played by a pseudo-terminal, and into a pipe. */
#define _XOPEN_SOURCE 600
#define _DEFAULT_SOURCE
#if defined(__APPLE__)
#define _DARWIN_C_SOURCE
#endif
#define VAE_IMPLEMENTATION
#include "../vae.h"

#include "test.h"

#if defined(__unix__) || defined(__APPLE__)
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

enum { ROWS = 40, MOST_COLUMNS = 300 };

static struct {
    char rows[ROWS][MOST_COLUMNS + 1];
    int  row, column, wraps, escapes; /* wraps: lines that reached the last column */
} screen;

/* What a terminal of `width` columns shows of `bytes`. */
static void show(const char *bytes, ssize_t count, int width) {
    ssize_t i;
    for (i = 0; i < count && screen.row < ROWS; i++) {
        if (bytes[i] == '\r') screen.column = 0;
        else if (bytes[i] == '\n') screen.row++;
        else if (bytes[i] < ' ') screen.escapes++;
        else {
            if (screen.column >= width - 1) screen.wraps++;
            if (screen.column < MOST_COLUMNS) screen.rows[screen.row][screen.column++] = bytes[i];
        }
    }
}

/* The row as text, without the spaces behind it. */
static const char *row_of(int row) {
    char  *text = screen.rows[row];
    size_t length = MOST_COLUMNS;
    while (length > 0 && (text[length - 1] == ' ' || text[length - 1] == 0)) length--;
    text[length] = 0;
    return text;
}

/* One epoch of 40 batches after another, each with its line, as vae_fit reports them. */
static void train(double scale, int validated) {
    vae_progress p;
    memset(&p, 0, sizeof p);
    p.epochs = 11;
    p.batches = 40;
    p.redraw = 1;
    p.examples_per_second = 23456.4 * scale;
    for (p.epoch = 8; p.epoch <= 10; p.epoch++) {
        p.train.loss = 164.641 * scale;
        p.train.reconstruction = 147.123 * scale;
        p.train.kl = 17.518 * scale;
        p.event = VAE_EVENT_BATCH;
        p.has_validation = 0;
        for (p.batch = 1; p.batch <= p.batches; p.batch++) {
            p.seconds_left = (200 - (double)p.batch * 3) * scale;
            vae_print_progress(NULL, &p);
        }
        p.batch = p.batches;
        p.event = VAE_EVENT_EPOCH;
        p.has_validation = validated;
        p.validation.loss = 127.219 * scale;
        p.validation.reconstruction = 103.123 * scale;
        p.validation.kl = 24.096 * scale;
        vae_print_progress(NULL, &p);
    }
    p.event = VAE_EVENT_BATCH;
    p.batch = 20;
    p.seconds_left = 72;
    vae_print_progress(NULL, &p);       /* stopped here: the bar is left standing */
    p.event = VAE_EVENT_STOPPED;
    vae_print_progress(NULL, &p);
}

enum { THE_END = 4 };                    /* the byte that the player writes last */

/* Reads what is played up to its last byte; 0 where nothing more comes. */
static int watch(int from, int width) {
    struct pollfd ready;
    char          bytes[4096];
    ssize_t       count;
    ready.fd = from;
    ready.events = POLLIN;
    while (poll(&ready, 1, 60000) > 0 && (count = read(from, bytes, sizeof bytes)) > 0) {
        const int ended = bytes[count - 1] == THE_END;
        show(bytes, count - ended, width);
        if (ended) return 1;
    }
    return 0;
}

/* Plays train() to a terminal of `width` columns (0: one that does not tell) or, where it is negative, to a pipe.
 * Its other end stays open here until all is read: a terminal that is hung up may lose what was written last. */
static int play(int width, const char *columns, double scale, int validated) {
    struct winsize size;
    struct termios plain;
    pid_t          child;
    int            ends[2] = { -1, -1 }, status = -1, whole;
    const char     end = THE_END;
    memset(&screen, 0, sizeof screen);
    if (width < 0) {
        if (pipe(ends) != 0) return 0;
    } else {
        ends[0] = posix_openpt(O_RDWR | O_NOCTTY);
        if (ends[0] < 0 || grantpt(ends[0]) != 0 || unlockpt(ends[0]) != 0) return 0;
        ends[1] = open(ptsname(ends[0]), O_RDWR | O_NOCTTY);
        if (ends[1] < 0 || tcgetattr(ends[1], &plain) != 0) return 0;
        memset(&size, 0, sizeof size);
        size.ws_row = ROWS;
        size.ws_col = (unsigned short)width;
        if (ioctl(ends[1], TIOCSWINSZ, &size) != 0) return 0;
    }
    fflush(NULL);
    child = fork();
    if (child == 0) {
        if (columns) setenv("COLUMNS", columns, 1);
        else unsetenv("COLUMNS");
        dup2(ends[1], 1);
        close(ends[0]);
        train(scale, validated);
        fflush(NULL);
        _exit(write(1, &end, 1) != 1);
    }
    whole = child > 0 && watch(ends[0], width > 0 ? width : columns ? atoi(columns) : width < 0 ? MOST_COLUMNS : 80);
    close(ends[1]);
    close(ends[0]);
    CHECK(child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0 && whole);
    return 1;
}

TEST(test_widths) {
    static const struct {
        int         width;
        const char *epoch, *bar;
    } wanted[] = {
        { 160, "epoch 10/11: loss 164.641 (reconstruction 147.123 + kl 17.518), validation 127.219 (103.123 + 24.096), "
               "23456 examples/s",
          "epoch 11/11 [############............] loss 164.64  23456 examples/s  1m 12s left" },
        { 80, "epoch 10/11: loss 164.64 (147.12 + 17.52), validation 127.22 (103.12 + 24.10)",
          "epoch 11/11 [###########...........] loss 164.64  23456 examples/s  1m 12s left" },
        { 60, "epoch 10/11: loss 164.64, validation 127.22",
          "epoch 11/11 [#####......] loss 164.64  23456/s  1m 12s left" },
        { 40, "10/11: loss 164.64, validation 127.22", "11/11 [###...] loss 164.64  1m 12s left" },
        { 30, "10/11: 164.64, 127.22", "11/11 [####.....] loss 164.64" },
        { 12, "10/11: 164.", "11/11 [###." }
    };
    size_t i;
    for (i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        if (!play(wanted[i].width, NULL, 1, 1)) SKIP("there are no pseudo-terminals");
        CHECK(screen.wraps == 0 && screen.escapes == 0);
        CHECK_TEXT(row_of(2), wanted[i].epoch);
        CHECK_TEXT(row_of(3), wanted[i].bar);
        CHECK(screen.row == 4 && screen.column == 0); /* nothing scrolled: three epochs, one bar that was left */
    }
}

/* The sum on the line holds whatever beta is. */
TEST(test_beta_is_seen) {
    static const struct {
        double      beta;
        int         brevity;
        const char *wanted;
    } lines[] = {
        { 1, 0, "12.500 (reconstruction 10.000 + kl 2.500)" },
        { 2, 0, "15.000 (reconstruction 10.000 + 2 x kl 2.500)" },
        { 0.25, 1, "10.62 (10.00 + 0.25 x 2.50)" }, { 0, 1, "10.00 (10.00 + 0 x 2.50)" }, { 2, 2, "15.00" }
    };
    size_t i;
    for (i = 0; i < sizeof lines / sizeof *lines; i++) {
        const vae_terms terms = vaei_terms_of(10, 2.5, (vae_real)lines[i].beta);
        char            line[100];
        vaei_text       text;
        text.bytes = line; text.size = sizeof line; text.length = 0;
        vaei_put_terms(&text, &terms, 1, lines[i].brevity, !lines[i].brevity);
        line[vaei_min_size(text.length, sizeof line - 1)] = 0;
        CHECK_TEXT(line, lines[i].wanted);
    }
}

TEST(test_classification_is_seen) {
    vae_terms terms = vaei_terms_of(10, 2.5, 1);
    char      line[100];
    vaei_text text;
    text.bytes = line; text.size = sizeof line; text.length = 0;
    terms.classification = 0.25;
    vaei_put_terms(&text, &terms, 1, 0, 1);
    line[vaei_min_size(text.length, sizeof line - 1)] = 0;
    CHECK_TEXT(line, "12.500 (reconstruction 10.000, kl 2.500, classification 0.25000)");
}

/* Nats of bytes also stand there as bits per dimension: those of the validation where there is one. */
TEST(test_bits_per_dimension) {
    vae_config   config;
    vae_progress p;
    vaei_text    text;
    char         line[200];
    int          likelihood;
    memset(&config, 0, sizeof config);
    memset(&p, 0, sizeof p);
    config.input.height = 7;
    config.input.width = 10;
    config.input.channels = 1;
    config.latent = 1;
    config.encoder[0] = VAE_DENSE(1, VAE_LINEAR);
    p.epoch = p.epochs = 1;
    p.train = vaei_terms_of(90, 10, 2);
    p.validation = vaei_terms_of(150, 50, 2);
    CHECK(vae_bits_per_dimension(NULL, 1) == 0);
    for (likelihood = VAE_BERNOULLI; likelihood <= VAE_DISCRETIZED_LOGISTIC; likelihood++) {
        config.likelihood = (vae_likelihood)likelihood;
        CHECK(vae_create(&config, &p.model, NULL) == VAE_OK);
        CHECK_NEAR(vae_bits_per_dimension(p.model, 100), 100 / (70 * log(2)), 1e-14);
        for (p.has_validation = 0; p.has_validation < 2; p.has_validation++) {
            const char *bits = p.has_validation ? "(150.000 + 2 x 50.000), 4.122 bits per dimension, 0 examples/s"
                                                : "epoch 1/1: loss 110.000 (reconstruction 90.000 + 2 x kl 10.000), "
                                                  "2.061 bits per "
                                                  "dimension, 0 examples/s";
            text.bytes = line; text.size = sizeof line; text.length = 0;
            vaei_put_epoch(&text, &p, 0);
            line[vaei_min_size(text.length, sizeof line - 1)] = 0;
            if (likelihood == VAE_DISCRETIZED_LOGISTIC) CHECK_CONTAINS(line, bits);
            else CHECK(!strstr(line, "bits"));
        }
        vae_destroy(p.model);
    }
}

/* Lengths of numbers differ, widths too: nothing wraps and nothing of the bar is left over. */
TEST(test_nothing_wraps) {
    static const double scales[] = { 1e-6, 1, -1, 1e3, 1e7, 1e40, 1e300, 1e308 };
    int                 width, i;
    for (width = 1; width <= 290; width += width < 90 ? 7 : 50)
        for (i = 0; i < 8; i++) {
            if (!play(width, NULL, scales[i], i % 2)) SKIP("there are no pseudo-terminals");
            CHECK((screen.wraps == 0 || width < 2) && screen.escapes == 0 && screen.row == 4);
            CHECK(!strchr(row_of(0), '#') && !strchr(row_of(0), '['));
        }
}

TEST(test_columns) {
    if (!play(0, "50", 1, 0)) SKIP("there are no pseudo-terminals"); /* no size: COLUMNS, else 80 */
    CHECK(screen.wraps == 0);
    CHECK_TEXT(row_of(0), "epoch 8/11: loss 164.64 (147.12 + 17.52)");
    CHECK(play(0, NULL, 1, 1) && screen.wraps == 0);
    CHECK_TEXT(row_of(0), "epoch 8/11: loss 164.64 (147.12 + 17.52), validation 127.22 (103.12 + 24.10)");
    CHECK(play(0, "nonsense", 1, 1));
    CHECK_TEXT(row_of(0), "epoch 8/11: loss 164.64 (147.12 + 17.52), validation 127.22 (103.12 + 24.10)");
    CHECK(play(60, "200", 1, 1) && screen.wraps == 0); /* the terminal knows better */
}

TEST(test_pipe) {
    CHECK(play(-1, "40", 1, 1));
    CHECK_TEXT(row_of(0), "epoch 8/11: loss 164.641 (reconstruction 147.123 + kl 17.518), validation 127.219 "
                          "(103.123 + 24.096), 23456 examples/s");
    CHECK(screen.row == 3); /* a line for each epoch and no bar */
}

int main(void) {
    RUN(test_widths);
    RUN(test_beta_is_seen);
    RUN(test_classification_is_seen);
    RUN(test_bits_per_dimension);
    RUN(test_nothing_wraps);
    RUN(test_columns);
    RUN(test_pipe);
    return test_finish();
}

#else
int main(void) {
    puts("SKIPPED test_progress: no pseudo-terminals here\n0 passed, 0 failed, 1 skipped");
    return 0;
}
#endif
