"""Plants small faults in vae.h and counts how many of them the tests catch.

    python3 tests/mutate.py                     the faults of seed 1: some minutes to compile, as long again to run
    python3 tests/mutate.py --sample 20         the first 20 of them, drawn over all sections
    python3 tests/mutate.py --seed 2            others
    python3 tests/mutate.py --show 17           what fault 17 is, and the command that runs a test with it
    python3 tests/mutate.py --only 17 vaei_mix  fault 17 and those in a function of this name or section

All faults stand in one copy of the header, each behind a switch that an environment variable turns: so every test
program is compiled once, and not once for each fault. A first run of each program without a fault records which
switches it passes; a fault is then tried with the programs that pass its switch until one of them fails, crashes or
takes several times as long as it should: first what caught it the last time, then those that promise most for their
time.
Interrupted, it goes on where it was: what a program, unchanged, did with a fault is not tried again.

Faults are drawn in every section of the implementation, by a hash of the seed, the function and the changed line: so a
change elsewhere in the file leaves them as they are. What is not drawn from: bodies of macros, and lines that no test
compiles on this machine (other systems' and other processors' code). A fault that changes nothing that the header
promises stands in tests/mutate_equivalent.txt with the reason; it is not tried unless --explained asks for it.

Ends with "N planted, N caught, N explained, N survived"; the status is 0 where at most 5 % survived of those that are
not explained; 15 % of a sample, which a few of the tests are tried with; none of what --only names.
Needs a gcc-like compiler ($CC, or cc) on a Unix; only Python's standard library."""
import argparse, collections, concurrent.futures, functools, hashlib, json, os, pathlib, queue, re, resource, shutil
import signal, subprocess, sys, threading, time

TOP = pathlib.Path(__file__).resolve().parent.parent
# Programs with the arguments that keep them short. Those left out take long and reach little that these do not.
TESTS = {name: [] for name in (
    'arguments basic batch_norm classifier combinations config data disk dropout embedded evaluation files fuzz golden '
    'gradients guards labels layers learning likelihoods math objectives optimizers pixels platform progress sharing '
    'sizes small statistics threads training traps views').split()}
TESTS['configs'] = ['2000']
TESTS['product'] = ['1500']
SAMPLE_TESTS = 'config files gradients labels layers pixels training'.split()
FLAGS = ['-std=c99', '-O1', '-Werror=vla', '-Werror=int-conversion', '-Werror=incompatible-pointer-types',
         '-Werror=discarded-qualifiers']
SLOWER, SECONDS, MEMORY = 4, 2, 6 << 30         # a test may take so many times as long, and these seconds; bytes

# ---- the header as tokens ----

Token = collections.namedtuple('Token', 'kind text start end')
TOKEN = re.compile(r'''(?P<comment>/\*.*?\*/|//[^\n]*)|(?P<directive>(?<![^\n])[ \t]*\#(?:\\\n|/\*.*?\*/|[^\n])*)
    |(?P<space>\s+|\\\n)|(?P<string>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')
    |(?P<number>\.?[0-9](?:[eEpP][+-]|[\w.])*)|(?P<name>\w+)
    |(?P<sign>\.\.\.|<<=|>>=|->|\+\+|--|<<|>>|[-+*/%&|^<>=!]=|&&|\|\||.)''', re.S | re.X)
PRECEDENCE = {sign: 10 - level for level, signs in enumerate(
    ('* / %', '+ -', '<< >>', '< <= > >=', '== !=', '&', '^', '|', '&&', '||')) for sign in signs.split()}
ASSIGNMENTS = '= += -= *= /= %= &= |= ^= <<= >>='.split()
TYPES = set('''void char short int long float double vae_wide signed unsigned const volatile static struct union enum
    size_t FILE va_list int8_t int16_t int32_t int64_t uint8_t uint16_t uint32_t uint64_t uintptr_t ptrdiff_t VAEI_V
    VAEI_I VAEI_TYPE'''.split())
KEYWORDS = set('if else while for do switch case default return goto break continue sizeof'.split())
SYMMETRIC = set('vaei_plus vaei_times vaei_max_int vaei_min_int vaei_max_size vaei_min_size'.split())
OPEN, CLOSE = {'(': ')', '[': ']', '{': '}'}, set(')]}')


def tokens_of(text):
    found, at = [], 0
    while at < len(text):
        match = TOKEN.match(text, at)
        if match.lastgroup not in ('comment', 'space'):
            found.append(Token(match.lastgroup, match.group(), match.start(), match.end()))
        at = match.end()
    return found


def plain(text):        # one line, without comments
    return ' '.join(re.sub(r'/\*.*?\*/|/\*.*|^[^/]*\*/', ' ', text, flags=re.S).split())


Fault = collections.namedtuple('Fault', 'section function kind line start end template before after')


class Header:
    def __init__(self, text):
        self.text, self.faults = text, []
        self.tokens = tokens_of(text)
        self.lines = [0] + [match.end() for match in re.finditer('\n', text)]
        self.sections = [(match.start(), match.group(1)) for match in
                         re.finditer(r'^/\* ==== [0-9 ]*>>([-\w]+) ', text, re.M)]
        self.types = TYPES | set(re.findall(r'^\} (\w+);', text, re.M)) | set(
            re.findall(r'^typedef [^;{]*?(\w+);', text, re.M))
        self.partner, self.around, stack = {}, [], []
        for i, token in enumerate(self.tokens):
            if token.text == '}' and self.column(token) == 0:       # whatever #if and #else have left open
                while stack and (self.tokens[stack[-1]].text != '{' or self.column(self.tokens[stack[-1]]) == 0 or
                                 len(stack) > 1): stack.pop()
            self.around.append(self.tokens[stack[-1]].text if stack else '')
            if token.kind != 'sign': continue
            if token.text in OPEN: stack.append(i)
            elif token.text in CLOSE and stack:
                if OPEN[self.tokens[stack[-1]].text] == token.text:
                    self.partner[i] = stack[-1]
                    self.partner[stack.pop()] = i
        self.bodies = []                    # first and last line of each function
        for first, last, name in self.functions():
            self.bodies.append((self.line(self.tokens[first - 1].start), self.line(self.tokens[last].start)))
            self.look_through(first, last, name)

    def column(self, token): return token.start - (self.text.rfind('\n', 0, token.start) + 1)

    def line(self, place):
        low, high = 0, len(self.lines)
        while high - low > 1:
            middle = (low + high) // 2
            if self.lines[middle] <= place: low = middle
            else: high = middle
        return low + 1

    def functions(self):
        i = 0
        while i < len(self.tokens):
            token = self.tokens[i]
            if token.text == '{' and i in self.partner and token.kind == 'sign':
                if self.tokens[i - 1].text == ')' and i - 1 in self.partner:
                    opening = self.partner[i - 1]
                    name = self.tokens[opening - 1]
                    if name.text == ')': name = self.tokens[opening - 2]     # VAEI_NAME(name)(...)
                    if name.kind == 'name': yield i + 1, self.partner[i], name.text
                i = self.partner[i]
            i += 1

    # ---- expressions ----

    def is_type(self, first, last):         # tokens first .. last - 1 name one
        words = [token.text for token in self.tokens[first:last]]
        return bool(words) and (words[0] in self.types or words[0].startswith('vaei_loose')) and all(
            re.match(r'\w+$|[*()]$', word) for word in words)

    def is_control(self, closing):          # the ) of if (...), while (...), for (...) or switch (...)
        return closing in self.partner and self.tokens[self.partner[closing] - 1].text in ('if', 'while', 'for', 'switch')

    def is_operand_end(self, i):
        token = self.tokens[i]
        if token.kind in ('number', 'string'): return True
        if token.kind == 'name': return token.text not in KEYWORDS and token.text not in self.types
        if token.text == ']': return True
        if token.text != ')' or i not in self.partner or self.is_control(i): return False
        opening = self.partner[i]
        before = self.tokens[opening - 1]
        called = before.text in (')', ']') or before.kind == 'name' and before.text not in KEYWORDS
        return called or not self.is_type(opening + 1, i)

    def is_binary(self, i): return self.tokens[i].text in PRECEDENCE and self.is_operand_end(i - 1)

    def is_end(self, i):                    # of an expression, from either side
        token = self.tokens[i]
        return token.kind == 'directive' or token.text in ('?', ':', ',', ';', '{', '}') or token.text in ASSIGNMENTS or \
            token.text in ('return', 'else', 'do', 'case', 'goto')

    def whole(self, i):                     # the expression around token i: first token, the one after the last
        first = last = i
        while True:
            j = first - 1
            if self.tokens[j].text in CLOSE:
                if j not in self.partner or self.tokens[j].text == '}' or self.is_control(j): break
                first = self.partner[j]
            elif self.tokens[j].text in OPEN or self.is_end(j): break
            else: first = j
        while True:
            if self.tokens[last].text in OPEN:
                if last not in self.partner or self.tokens[last].text == '{': break
                last = self.partner[last] + 1
            elif self.tokens[last].text in CLOSE or self.is_end(last): break
            else: last += 1
        return first, last

    def operand_end(self, i, weakest):      # after the operand that begins at token i, of an operator this strong
        while True:
            text = self.tokens[i].text
            if text in OPEN:
                if i not in self.partner: return i
                i = self.partner[i]
            elif text in CLOSE or self.is_end(i) or self.is_binary(i) and PRECEDENCE[text] <= weakest: return i
            i += 1

    def begins_statement(self, i):
        before = self.tokens[i - 1]
        return before.text in (';', '{', '}', 'else', 'do') or before.text == ')' and self.is_control(i - 1)

    def said(self, first, last, replaced={}):       # the tokens as one line, some with another text
        words = []
        for i in range(first, last):
            text = replaced.get(i, self.tokens[i].text)
            gap = ' ' if i > first and self.tokens[i].start > self.tokens[i - 1].end else ''
            words.append(gap + text)
        return ''.join(words).strip()

    # ---- faults ----

    def add(self, kind, first, last, mutated, template):
        """Tokens first .. last - 1 become `mutated`; in the copy with switches they become `template`, where \\1 is
        the number of the switch, \\2 the fault and \\3 what stands there now."""
        if any(self.tokens[i].kind == 'directive' for i in range(first, last)) or last <= first: return
        start, end = self.tokens[first].start, self.tokens[last - 1].end
        begin, stop = self.text.rfind('\n', 0, start) + 1, self.text.find('\n', end)
        before = plain(self.text[begin:stop])
        after = plain(self.text[begin:start] + (mutated or ';') + self.text[end:stop])
        section = [name for place, name in self.sections if place < start][-1]
        template = template.replace('\2', mutated).replace('\3', self.text[start:end])
        self.faults.append(Fault(section, self.function, kind, self.line(start), start, end, template, before, after))

    def change(self, kind, i, replaced, extent=None):      # of the expression around token i
        first, last = extent or self.whole(i)
        if self.begins_statement(first) and self.tokens[first].text in self.types: return      # a declaration
        self.add(kind, first, last, self.said(first, last, replaced), '(mutant(\1) ? (\2) : (\3))')

    def look_through(self, begin, end, name):
        self.function = name
        swaps = {'<': '<=', '<=': '<', '>': '>=', '>=': '>', '==': '!=', '!=': '==', '+': '-', '-': '+', '*': '+',
                 '/': '*', '%': '/', '<<': '>>', '>>': '<<', '&': '|', '|': '&', '^': '|', '&&': '||', '||': '&&'}
        assigned = {'+=': ('-=', '='), '-=': ('+=', '='), '*=': ('/=', '='), '/=': ('*=',), '|=': ('&=', '='),
                    '&=': ('|=', '='), '^=': ('|=',), '++': ('--',), '--': ('++',)}
        either = '{ if (mutant(\1)) { \2 } else { \3 } }'
        for i in range(begin, end):
            token, text = self.tokens[i], self.tokens[i].text
            if token.kind == 'directive' or token.kind == 'string': continue
            if self.is_binary(i):
                strength = PRECEDENCE[text]
                self.change('comparison' if strength in (6, 7) else 'logic' if strength < 3 else 'operator', i,
                            {i: swaps[text]})
                if strength not in (6, 7, 8):
                    after = self.operand_end(i + 1, strength)
                    self.change('dropped term', i, {j: '' for j in range(i, after)})
            elif text in ('-', '!') and not self.is_operand_end(i - 1): self.change('sign', i, {i: ''})
            elif text == '?':
                first, last = self.whole(i - 1)
                if last == i: self.add('condition', first, i, '!(' + self.said(first, i) + ')',
                                       '(mutant(\1) ? (\2) : (\3))')
            elif text in ('if', 'while') and i + 1 in self.partner:
                first, last = i + 2, self.partner[i + 1]
                self.add('condition', first, last, '!(' + self.said(first, last) + ')', '(mutant(\1) ? \2 : (\3))')
                if text == 'if': self.add('dropped check', first, last, '0', '(mutant(\1) ? 0 : (\3))')
            elif text == 'return' and self.tokens[i + 1].text != ';':
                first, last = i + 1, i + 1
                while self.tokens[last].text != ';':
                    last = self.partner.get(last, last) + 1
                other = '1' if self.said(first, last) in ('0', 'NULL', 'VAE_OK') else '0'
                self.add('result', first, last, other, '(mutant(\1) ? (\2) : (\3))')
            elif token.kind == 'number' and self.tokens[i - 1].text != 'case':
                real = re.search(r'\.|^\d+[eE]', text) and not text.startswith('0x')
                more = f'({text} * 1.125f)' if real else '1' if re.match(r'0[uU]?$', text) else f'({text} + 1)'
                self.add('constant', i, i + 1, more, '(mutant(\1) ? \2 : \3)')
            elif text == '(' and token.kind == 'sign' and self.tokens[i - 1].kind == 'name' and i in self.partner and \
                    self.tokens[i - 1].text not in KEYWORDS | {'sizeof', 'defined', 'VAEI_NAME', 'VAEI_TYPE'}:
                self.swap_arguments(i - 1, i, self.partner[i])
            if self.around[i] == '{' and self.begins_statement(i) and token.kind in ('name', 'sign') and text not in KEYWORDS | self.types | set(
                    '{};') and not (text == '(' and self.tokens[i + 1].text == 'void'):
                self.statement(i, end, assigned, either)

    def swap_arguments(self, name, opening, closing):
        if self.tokens[name].text in SYMMETRIC: return
        commas, j = [opening], opening + 1
        while j < closing:
            if self.tokens[j].text == ',': commas.append(j)
            j = self.partner.get(j, j) + 1 if self.tokens[j].text in OPEN else j + 1
        commas.append(closing)
        for k in range(len(commas) - 2):
            one = self.said(commas[k] + 1, commas[k + 1])
            two = self.said(commas[k + 1] + 1, commas[k + 2])
            if one == two or '"' in one + two: continue
            said = f'{self.said(name, commas[k] + 1)}{" " if k else ""}{two}, {one}{self.said(commas[k + 2], closing + 1)}'
            self.add('arguments', name, closing + 1, said, '(mutant(\1) ? \2 : \3)')

    def statement(self, i, end, assigned, either):
        last, sign = i, None
        while last < end and self.tokens[last].text != ';':
            if self.tokens[last].text == '{' or self.tokens[last].kind == 'directive': return
            if self.tokens[last].text in ASSIGNMENTS or self.tokens[last].text in ('++', '--'): sign = sign or last
            last = self.partner.get(last, last) + 1 if self.tokens[last].text in OPEN else last + 1
        if last >= end or last == i: return
        named = self.partner.get(i + 1, i) + 1                  # a declaration: of a type, or of VAEI_NAME(type)
        if not sign and self.tokens[named].kind == 'name': return
        self.add('dropped statement', i, last + 1, '', '{ if (!mutant(\1)) { \3 } }')
        for other in assigned.get(self.tokens[sign].text, ()) if sign else ():
            self.add('assignment', i, last + 1, self.said(i, last + 1, {sign: other}), either)


# ---- which of them are planted ----

def rank(seed, fault):          # a type with another name does not draw others
    key = '\0'.join([str(seed), fault.function, fault.before, fault.after]).replace('vae_wide', 'double')
    return hashlib.sha256(key.encode()).hexdigest()


def drawn(faults, count, seed, dropped):
    """About `count` faults: eight in every section, the rest by its number of candidates, each section's spread over the
    kinds, none within another."""
    by_section = collections.OrderedDict()
    for fault in faults: by_section.setdefault(fault.section, []).append(fault)
    rest = max(0, count - 8 * len(by_section)) / len(faults)
    chosen = []
    for section, candidates in by_section.items():
        by_kind = collections.defaultdict(list)
        for fault in sorted(candidates, key=lambda fault: rank(seed, fault)): by_kind[fault.kind].append(fault)
        kinds = sorted(by_kind, key=lambda kind: rank(seed, by_kind[kind][0]))
        wanted, taken = 8 + round(rest * len(candidates)), []
        while kinds and len(taken) < wanted:
            kind = kinds.pop(0)
            while by_kind[kind]:
                fault = by_kind[kind].pop(0)
                if fault.before == fault.after or (fault.function, fault.before, fault.after) in dropped or \
                        any(fault.start < other.end and other.start < fault.end for other in taken): continue
                taken.append(fault)
                kinds.append(kind)
                break
        chosen += taken
    return sorted(chosen, key=lambda fault: fault.start)


def instrumented(text, chosen):
    parts, at = [], 0
    for number, fault in enumerate(chosen, 1):
        parts += [text[at:fault.start], fault.template.replace('\1', str(number))]
        at = fault.end
    return ''.join(parts) + text[at:]


SWITCH = '''/* Given with -include: no header may come before the test's own. */
extern int mutant_now;
extern unsigned char mutant_reached[];
__attribute__((unused, always_inline)) static inline int mutant(int number) {
    mutant_reached[number] = 1;
    return mutant_now == number;
}
'''
SWITCH_SOURCE = '''#define _DEFAULT_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
int mutant_now;
unsigned char mutant_reached[8192] __attribute__((aligned(4096)));      /* a file's pages: children write there too */
__attribute__((constructor)) static void begin(void) {
    const char *number = getenv("MUTANT"), *path = getenv("MUTANTS_REACHED");
    int         file = path ? open(path, O_RDWR) : -1;
    if (number) mutant_now = atoi(number);
    if (file >= 0) mmap(mutant_reached, sizeof mutant_reached, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0);
    if (file >= 0) close(file);
}
'''

# ---- compiling and running ----


class Work:
    def __init__(self, options):
        self.options, self.here = options, pathlib.Path(options.build).resolve()
        self.tree, self.cc = self.here / 'tree', os.environ.get('CC', 'cc').split()
        self.tests = options.tests or (SAMPLE_TESTS if options.sample else list(TESTS))
        self.pool = concurrent.futures.ThreadPoolExecutor(options.jobs)
        self.seats = queue.Queue()
        shutil.rmtree(self.tree, ignore_errors=True)
        for name in ('tests', 'examples'):
            shutil.copytree(TOP / name, self.tree / name, ignore=shutil.ignore_patterns('*.log'))
        for seat in range(options.jobs):            # a folder for each worker, where a test finds what it reads
            folder = self.here / f'run{seat}'
            shutil.rmtree(folder, ignore_errors=True)
            (folder / 'build').mkdir(parents=True)
            for name in ('vae.h', 'tests', 'examples'): (folder / name).symlink_to(self.tree / name)
            self.seats.put(folder)
        (self.here / 'mutant.h').write_text(SWITCH)
        (self.here / 'mutant.c').write_text(SWITCH_SOURCE)
        self.run([*self.cc, '-O1', '-c', str(self.here / 'mutant.c'), '-o', str(self.here / 'mutant.o')], check=True)

    @staticmethod
    def run(command, **more): return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                                    errors='replace', **more)

    def source(self, test): return str(self.tree / 'tests' / f'test_{test}.c')

    def compiler(self): return [*self.cc, *FLAGS, '-include', str(self.here / 'mutant.h')]

    def live_lines(self, text):             # the lines of the header that any test compiles
        (self.tree / 'vae.h').write_text(text)
        live = set()

        def look(test):
            line, inside, found = 0, False, set()
            for said in self.run([*self.compiler(), '-E', self.source(test)], check=True).stdout.split('\n'):
                marker = re.match(r'# (\d+) "(.*?)"', said)
                if marker: line, inside = int(marker.group(1)), marker.group(2).endswith('vae.h')
                else:
                    if inside and said.strip(): found.add(line)
                    line += 1
            return found
        for found in self.pool.map(look, TESTS): live |= found
        return live

    def options_of(self, test):             # what it defines before it includes the header
        return tuple(sorted(set(re.findall(r'^#define (VAE_(?!IMPLEMENTATION)\w+)', pathlib.Path(
            self.source(test)).read_text(), re.M))))

    def complaints(self, output):           # lines of the header in a compiler's errors
        return {int(number) for number in re.findall(r'vae\.h:(\d+):\d+: (?:error|note: in (?:expansion|definition))',
                                                     output)} if 'error:' in output else set()

    def plant(self, header, seed):
        """The faults, in a header that compiles: those that do not compile are replaced by others."""
        live = self.live_lines(header.text)
        faults = [fault for fault in header.faults if fault.line in live]
        one_each = {self.options_of(test): test for test in reversed(list(TESTS))}.values()
        dropped, clean = set(), False
        mark = self.here / 'dropped.json'       # those of the same header, tests and compiler
        stamp = hashlib.sha256(repr([header.text, sorted(live), self.options.count, seed, self.compiler(),
                                     pathlib.Path(__file__).read_text()]).encode()).hexdigest()
        known = json.loads(mark.read_text()) if mark.exists() else {}
        if known.get('stamp') == stamp:
            chosen = drawn(faults, self.options.count, seed, {tuple(fault) for fault in known['dropped']})
            (self.tree / 'vae.h').write_text(instrumented(header.text, chosen))
            return faults, chosen
        while not clean:
            chosen = drawn(faults, self.options.count, seed, dropped)
            (self.tree / 'vae.h').write_text(instrumented(header.text, chosen))
            clean = True
            for test in one_each:
                said = self.run([*self.compiler(), '-fsyntax-only', '-fmax-errors=0', self.source(test)]).stdout
                bad = self.complaints(said)
                if 'error:' in said and not bad: sys.exit(said)
                spans = [(line, line) for line in bad]
                for spans in (spans, [body for body in header.bodies if any(body[0] <= line <= body[1] for line in bad)]):
                    gone = {(fault.function, fault.before, fault.after) for fault in chosen if any(
                        first <= header.line(fault.end - 1) and fault.line <= last for first, last in spans)}
                    if gone: break
                if bad and not gone: sys.exit(said)
                if gone:
                    dropped |= gone
                    clean = False
                    break
        mark.write_text(json.dumps({'stamp': stamp, 'dropped': sorted(dropped)}))
        return faults, chosen

    def compile(self, test):
        program = self.here / f'test_{test}'
        stamp = hashlib.sha256(' '.join(self.compiler()).encode())
        for path in [self.tree / 'vae.h', *sorted((self.tree / 'tests').glob('*.h')), pathlib.Path(self.source(test))]:
            stamp.update(path.read_bytes())
        mark = self.here / f'test_{test}.sha256'
        if program.exists() and mark.exists() and mark.read_text() == stamp.hexdigest(): return
        said = self.run([*self.compiler(), self.source(test), str(self.here / 'mutant.o'), '-o', str(program), '-lm',
                         '-pthread'])
        if said.returncode: sys.exit(f'test_{test} does not compile:\n{said.stdout}')
        mark.write_text(stamp.hexdigest())

    def try_test(self, test, number, cpu=120, wall=600, reached=None):
        """What shows the fault, or None. Stops at the first test of the program that fails."""
        seat = self.seats.get()
        environment = {**os.environ, 'MUTANT': str(number)}
        if reached: environment['MUTANTS_REACHED'] = str(reached)

        def limits():
            resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 1))
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        process = subprocess.Popen([str(self.here / f'test_{test}'), *TESTS.get(test, [])], cwd=seat, env=environment,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True,
                                   errors='replace', preexec_fn=limits, start_new_session=True)

        def end():
            try: os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError: pass
        timer, shown, closing = threading.Timer(wall, end), None, None
        timer.start()
        for line in process.stdout:
            if line.startswith('FAILED ') and not shown:
                shown = line.strip()
                if number: end()
            closing = re.match(r'\d+ passed, (\d+) failed', line) or closing
        process.wait()
        timer.cancel()
        end()
        shutil.rmtree(seat / 'build', ignore_errors=True)
        (seat / 'build').mkdir()
        self.seats.put(seat)
        if shown or process.returncode or not closing: return shown or f'ended with status {process.returncode}'
        return None

    def measure(self, test):                # CPU seconds without a fault, and the switches passed
        reached, mark = self.here / f'test_{test}.reached', self.here / f'test_{test}.measured'
        stamp = (self.here / f'test_{test}.sha256').read_text()
        if mark.exists() and mark.read_text().split()[0] == stamp: seconds, wall = map(float, mark.read_text().split()[1:])
        else: seconds, wall = self.run_alone(test, reached)
        mark.write_text(f'{stamp} {seconds} {wall}')
        return seconds, wall, {number for number, byte in enumerate(reached.read_bytes()) if byte}

    def run_alone(self, test, reached):
        reached.write_bytes(bytes(8192))
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.time()
        shown = self.try_test(test, 0, reached=reached)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if shown: sys.exit(f'test_{test} fails without a fault: {shown}')
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, time.time() - began


def explained_faults(path):
    """Function, line before, line after: to the reason."""
    explained, entry = {}, []
    for line in (path.read_text() if path.exists() else '').splitlines() + ['']:
        if line.startswith('#'): continue
        if line.strip(): entry.append(line)
        elif entry:
            if len(entry) < 4 or entry[1][:2] != '- ' or entry[2][:2] != '+ ': sys.exit(f'{path}: {entry[0]}')
            explained[entry[0], entry[1][2:], entry[2][2:]] = ' '.join(text.strip() for text in entry[3:])
            entry = []
    return explained


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--count', type=int, default=255, help='faults to plant')
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--sample', type=int, help='try so many of them, with a few tests')
    parser.add_argument('--only', nargs='+', default=[], help='try these: numbers, functions or sections')
    parser.add_argument('--tests', nargs='*', help='names without test_')
    parser.add_argument('--budget', type=float, default=1e9, help='CPU seconds after which a fault has survived')
    parser.add_argument('--jobs', type=int, default=os.cpu_count())
    parser.add_argument('--build', default=TOP / 'build' / 'mutate')
    parser.add_argument('--explained', action='store_true', help='try the explained ones too')
    parser.add_argument('--list', action='store_true', help='only list the faults')
    parser.add_argument('--show', type=int)
    options = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)
    began = time.time()
    work, header = Work(options), Header((TOP / 'vae.h').read_text())
    candidates, chosen = work.plant(header, options.seed)
    numbers = {fault: number for number, fault in enumerate(chosen, 1)}
    planted, seed = chosen, options.seed
    if options.sample: planted = sorted(chosen, key=lambda fault: rank(seed, fault))[:options.sample]
    if options.only:
        planted = [fault for fault in planted
                   if {str(numbers[fault]), fault.function, fault.section} & set(options.only)]
        if not planted: sys.exit('there is no such fault')

    def describe(fault):
        return f'{numbers[fault]}: vae.h:{fault.line} {fault.section} [{fault.kind}]\n{fault.function}\n' \
               f'- {fault.before}\n+ {fault.after}'
    if options.list or options.show:
        for fault in chosen:
            if options.show in (None, numbers[fault]): print(describe(fault) + '\n')
        if options.show: print(f'MUTANT={options.show} {work.here}/test_NAME        in a folder with vae.h and tests/')
        return 0
    print(f'{len(chosen)} faults of {len(candidates)} candidates; compiling {len(work.tests)} tests '
          f'({time.time() - began:.0f} s)')
    list(work.pool.map(work.compile, work.tests))
    print(f'running them without a fault ({time.time() - began:.0f} s)')
    seconds, wall, reached = {}, {}, {}
    for test in work.tests: seconds[test], wall[test], reached[test] = work.measure(test)
    print('  ' + ', '.join(f'{test} {seconds[test]:.1f} s' for test in sorted(seconds, key=seconds.get)))
    explained = explained_faults(TOP / 'tests' / 'mutate_equivalent.txt')
    reasons = {fault: explained.get((fault.function, fault.before, fault.after)) for fault in planted}
    history = work.here / 'history'         # of runs before: a program's checksum, the fault, what became of it
    known = dict(line.split('\t', 1) for line in history.read_text().splitlines()) if history.exists() else {}
    hints = work.here / 'hints.json'        # of any run before: the fault, what caught it last
    caught_by = json.loads(hints.read_text()) if hints.exists() else {}
    lock, tries, catches = threading.Lock(), collections.Counter(), collections.Counter()

    @functools.lru_cache(None)
    def stamp(test): return (work.here / f'test_{test}.sha256').read_text()

    def trial(fault):
        number, survived = numbers[fault], []
        left, spent = {test for test in work.tests if number in reached[test]}, 0
        while left and spent < options.budget:          # what costs least for its chances in this section first
            test = min(left, key=lambda test: (test != caught_by.get(rank(seed, fault)), seconds[test] * (
                tries[fault.section, test] + 2) / (catches[fault.section, test] + 1)))
            left.remove(test)
            spent += seconds[test]
            key = f'{stamp(test)} {number}'
            if key not in known:
                shown = work.try_test(test, number, int(SLOWER * seconds[test]) + SECONDS, 4 * wall[test] + 20)
                with lock, history.open('a') as file:
                    known[key] = shown or ''
                    file.write(f'{key}\t{known[key]}\n')
            tries[fault.section, test] += 1
            if known[key]:
                catches[fault.section, test] += 1
                with lock:
                    caught_by[rank(seed, fault)] = test
                    hints.write_text(json.dumps(caught_by))
                return test, known[key]
            survived.append(test)
        return None, ' '.join(survived)
    tried = [fault for fault in planted if options.explained or not reasons[fault]]
    print(f'trying {len(tried)} faults ({time.time() - began:.0f} s)')
    outcome, done = {}, 0
    for fault, (test, shown) in zip(tried, work.pool.map(trial, tried)):
        outcome[fault] = test
        done += 1
        if not test:
            print(f'SURVIVED {describe(fault)}\nreached by: {shown or "no test"}\n')
        elif reasons[fault]: print(f'caught by test_{test} though it is explained: {describe(fault)}\n')
        if done % 10 == 0:
            print(f'  {done} tried, {sum(map(bool, outcome.values()))} caught ({time.time() - began:.0f} s)')
    sums = collections.Counter()
    print(f'{"section":28} candidates planted caught explained survived')
    for section in collections.OrderedDict((fault.section, 0) for fault in candidates):
        row = collections.Counter(candidates=sum(fault.section == section for fault in candidates))
        for fault in planted:
            if fault.section != section: continue
            row['planted'] += 1
            row['caught' if outcome.get(fault) else 'explained' if reasons[fault] else 'survived'] += 1
        sums.update(row)
        print(f'{section:28} {row["candidates"]:10} {row["planted"]:7} {row["caught"]:6} {row["explained"]:9} '
              f'{row["survived"]:8}')
    by = collections.Counter(test for test in outcome.values() if test)
    print('caught by: ' + ', '.join(f'{test} {count}' for test, count in by.most_common()))
    print(f'{time.time() - began:.0f} seconds')
    print(f'{sums["planted"]} planted, {sums["caught"]} caught, {sums["explained"]} explained, '
          f'{sums["survived"]} survived')
    share = 0 if options.only else 0.15 if options.sample else 0.05
    return sums['survived'] > share * (sums['planted'] - sums['explained'])


if __name__ == '__main__': sys.exit(main())
