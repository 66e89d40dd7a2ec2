# vae.h: examples, tests and installation. The library itself needs no building: copy vae.h.
#   make run     train a model, write pictures        make test    all tests
#   make help    every target                         make bench   speed

CC     ?= cc
CFLAGS ?= -O2
PREFIX ?= /usr/local
BUILD  := build
WEB_EPOCHS ?= 5
FUZZ_SECONDS ?= 60

WARNINGS := -std=c99 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wdouble-promotion -Wstrict-prototypes
COMPILE   = $(CC) $(WARNINGS) $(CFLAGS) -MMD -MP
THREADS  := -DVAE_THREADS -pthread

EXAMPLES := $(patsubst examples/%.c,$(BUILD)/%,$(wildcard examples/*.c))
TESTS    := $(patsubst tests/%.c,$(BUILD)/%,$(sort $(wildcard tests/test_*.c)))
VERSION  := $(shell sed -n 's/^.define VAE_VERSION "\(.*\)"/\1/p' vae.h)

.PHONY: examples help run test check platforms coverage fuzz mutate reproduce bench bench-peers sensor-qemu data web test-web install uninstall clean

examples: $(EXAMPLES) $(BUILD)/make_digits

help:
	@echo "make examples        build everything in examples/ into $(BUILD)/ (the default)"
	@echo "make run             train on MNIST (data/ or MNIST_DIR) or generated digits, write pictures into out/"
	@echo "make test            build and run all tests; MNIST_DIR, data/ or ../shared/mnist gives real MNIST"
	@echo "make check           every check that this machine can make, some 45 minutes on two cores; says what it does"
	@echo "make platforms       all tests on PLATFORMS=... other processors and systems, under emulators, for hours"
	@echo "make coverage        which lines of vae.h the tests run, section by section, in minutes; takes gcov and python3"
	@echo "make fuzz            what reads files and command lines meets made-up ones, 8 x FUZZ_SECONDS=$(FUZZ_SECONDS)"
	@echo "make mutate          plant 250 small faults in vae.h, count those that the tests catch; half an hour on one core"
	@echo "make reproduce       published figures on real MNIST, in minutes; FULL=1 for the long ones too, a night"
	@echo "make bench           measure speed against this machine's own peak, under two minutes"
	@echo "make bench-peers     the same against PyTorch, where python3 has torch"
	@echo "make sensor-qemu     examples/sensor.c and sizes on Cortex-M3 and M4F, where their compiler and qemu are"
	@echo "make data            download MNIST into data/"
	@echo "make web             one HTML file with a model in it, $(BUILD)/vae.html (WEB_EPOCHS=$(WEB_EPOCHS)); takes clang, lld, xz"
	@echo "make test-web        test it in Node and in headless Chromium"
	@echo "make install         copy vae.h and vae.pc below PREFIX=$(PREFIX)"
	@echo "make clean           remove $(BUILD)/ and out/"
	@echo "CC, CFLAGS, PREFIX and MNIST_DIR may be set, as in: make test CC=clang CFLAGS=-O3"

$(BUILD):
	@mkdir -p $@

# The library takes most of the time to compile. What uses its public part alone, with the same options, shares an object
# of it: VAEI_IMPLEMENTED leaves the implementation out of vae.h.
$(BUILD)/vae.o: vae.h | $(BUILD)
	$(COMPILE) -DVAE_IMPLEMENTATION -x c -c -o $@ $<

$(BUILD)/vae_threads.o: vae.h | $(BUILD)
	$(COMPILE) $(THREADS) -DVAE_IMPLEMENTATION -x c -c -o $@ $<

$(filter-out $(BUILD)/sensor,$(EXAMPLES)) $(BUILD)/figures: $(BUILD)/%: $(BUILD)/vae_threads.o

$(BUILD)/%: examples/%.c vae.h | $(BUILD)
	$(COMPILE) $(THREADS) $(if $(filter %.o,$^),-DVAEI_IMPLEMENTED) -o $@ $< $(filter %.o,$^) -lm

$(BUILD)/make_digits: data/make_digits.c | $(BUILD)
	$(COMPILE) -o $@ $< -lm

SHARING  := $(addprefix $(BUILD)/test_,export learning mnist sharing)
THREADED := $(addprefix $(BUILD)/test_,platform small threads views)
$(SHARING): $(BUILD)/vae.o

# The other tests look inside or set options, and have a library each. Its bits are the same at every level, so unless
# CFLAGS is given they get the one at which it compiles in half the time.
$(BUILD)/test_%: LEVEL = $(if $(filter file,$(origin CFLAGS)),-O1,$(CFLAGS))
$(BUILD)/test_%: tests/test_%.c vae.h | $(BUILD)
	$(CC) $(WARNINGS) $(LEVEL) -MMD -MP $(if $(filter $@,$(THREADED)),$(THREADS)) $(if $(filter %.o,$^),-DVAEI_IMPLEMENTED) \
	    -o $@ $< $(filter %.o,$^) -lm

$(BUILD)/bench $(BUILD)/figures: $(BUILD)/%: tests/%.c vae.h | $(BUILD)
	$(COMPILE) $(THREADS) $(if $(filter %.o,$^),-DVAEI_IMPLEMENTED) -o $@ $< $(filter %.o,$^) -lm

# Real MNIST if it is in data/ or where MNIST_DIR says; else digits drawn once into build/digits.
run: $(BUILD)/train_mnist $(BUILD)/reconstruct_mnist $(BUILD)/make_digits
	@sh tests/run_example.sh $(BUILD) out

# As many jobs as the machine has processors, or as -j says.
test:
	@sh tests/run_tests.sh "$(MAKE)" $(TESTS)

$(TESTS:=.log): %.log: % FORCE
	@$< >$@ 2>&1; echo "ended with status $$?" >>$@; echo "finished $<"

$(BUILD)/test_examples.log: examples
$(BUILD)/test_export.log: $(BUILD)/export_c
FORCE:

# All that .ci/run does, with what it may install; `.ci/run list` says what that is.
check:
	@bash .ci/run

# All tests, on what of these the machine has; `make platforms PLATFORMS=musl` takes minutes.
PLATFORMS ?= i386 musl tcc wasi windows aarch64 s390x riscv64 armhf
platforms:
	@failed=; for platform in $(PLATFORMS); do sh tests/platforms.sh $$platform || failed="$$failed $$platform"; done; \
	    echo "failed on:$${failed:- none}"; [ -z "$$failed" ]

# The tests once more, in a folder of their own.
coverage:
	@rm -rf $(BUILD)/coverage
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/coverage CC=gcc CFLAGS="-O1 --coverage" EXAMPLES= test
	@python3 -B tests/coverage.py $(BUILD)/coverage

fuzz: | $(BUILD)
	@sh tests/fuzz.sh $(BUILD) $(FUZZ_SECONDS)

# Half an hour on one core, a third of it to compile. Python 3 and a Unix. Faults of another seed: see tests/mutate.py.
mutate:
	@python3 -B tests/mutate.py

# Interrupted, it goes on where it was. SEED=2 takes another seed.
reproduce: $(BUILD)/train_mnist $(BUILD)/figures
	@FULL="$(FULL)" SEED="$(SEED)" sh tests/reproduce.sh $(BUILD) out/reproduce

bench: $(BUILD)/bench
	@$(BUILD)/bench

bench-peers: $(BUILD)/bench
	@$(BUILD)/bench --peers

# One minute. Says what is missing where the tools are not installed.
sensor-qemu:
	@sh tests/devices.sh $(BUILD)

data:
	@sh data/get_mnist.sh data

$(BUILD)/web_train: examples/web/train.c vae.h | $(BUILD)
	$(COMPILE) -o $@ $< -lm

web: $(BUILD)/web_train $(BUILD)/make_digits
	@sh examples/web/build.sh $(BUILD) $(WEB_EPOCHS)

test-web: $(BUILD)/web_train $(BUILD)/make_digits $(BUILD)/test_web
	@sh examples/web/build.sh $(BUILD) $(WEB_EPOCHS)
	@if command -v node >/dev/null; then node tests/test_web.mjs $(BUILD) $(PICTURES); \
	else echo "0 passed, 0 failed, 1 skipped: node is not installed"; fi

install: vae.h
	install -d "$(DESTDIR)$(PREFIX)/include" "$(DESTDIR)$(PREFIX)/lib/pkgconfig"
	install -m 644 vae.h "$(DESTDIR)$(PREFIX)/include/vae.h"
	@printf '%s\n' 'prefix=$(PREFIX)' 'includedir=$${prefix}/include' '' 'Name: vae' \
	    'Description: variational autoencoders in one C99 header' 'Version: $(VERSION)' \
	    'Cflags: -I$${includedir}' 'Libs: -lm' > "$(DESTDIR)$(PREFIX)/lib/pkgconfig/vae.pc"
	@echo "installed vae.h and vae.pc below $(DESTDIR)$(PREFIX)"

uninstall:
	rm -f "$(DESTDIR)$(PREFIX)/include/vae.h" "$(DESTDIR)$(PREFIX)/lib/pkgconfig/vae.pc"

clean:
	rm -rf $(BUILD) out

-include $(wildcard $(BUILD)/*.d)
