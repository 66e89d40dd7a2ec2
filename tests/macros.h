/* Macros that popular headers define, as a trap: included before vae.h (cc -include tests/macros.h), they make any use
   of such a name inside it an error. The standard headers come first, since some of these names occur in them. */
#if defined(__unix__) && !defined(_POSIX_C_SOURCE)
#define _POSIX_C_SOURCE 200809L
#endif
#include <errno.h>
#include <float.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#if defined(__unix__)
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/types.h>
#include <unistd.h>
#endif
#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif
/* Windows SDK */
#undef near
#define near @
#undef far
#define far @
#undef small
#define small @
#undef hyper
#define hyper @
#undef interface
#define interface @
#undef pascal
#define pascal @
#undef cdecl
#define cdecl @
#undef huge
#define huge @
#undef IN
#define IN @
#undef OUT
#define OUT @
#undef OPTIONAL
#define OPTIONAL @
#undef CONST
#define CONST @
#undef VOID
#define VOID @
#undef THIS
#define THIS @
#undef PURE
#define PURE @
#undef ERROR
#define ERROR @
#undef NO_ERROR
#define NO_ERROR @
#undef DELETE
#define DELETE @
#undef STRICT
#define STRICT @
#undef CALLBACK
#define CALLBACK @
#undef WINAPI
#define WINAPI @
#undef APIENTRY
#define APIENTRY @
#undef INFINITE
#define INFINITE @
#undef MAX_PATH
#define MAX_PATH @
#undef GetObject
#define GetObject @
#undef CreateFile
#define CreateFile @
#undef CreateWindow
#define CreateWindow @
#undef DrawText
#define DrawText @
#undef LoadImage
#define LoadImage @
#undef SendMessage
#define SendMessage @
#undef GetMessage
#define GetMessage @
#undef GetCurrentTime
#define GetCurrentTime @
#undef CopyFile
#define CopyFile @
#undef MoveFile
#define MoveFile @
#undef DeleteFile
#define DeleteFile @
#undef ABSOLUTE
#define ABSOLUTE @
#undef RELATIVE
#define RELATIVE @
#undef OPAQUE
#define OPAQUE @
#undef TRANSPARENT
#define TRANSPARENT @
#undef ALTERNATE
#define ALTERNATE @
#undef WINDING
#define WINDING @
#undef DIFFERENCE
#define DIFFERENCE @
#undef PASSTHROUGH
#define PASSTHROUGH @
#undef UNALIGNED
#define UNALIGNED @
#undef rad1
#define rad1 @
#undef rad2
#define rad2 @
#undef grp1
#define grp1 @
#undef psh1
#define psh1 @
#undef chx1
#define chx1 @
#undef edt1
#define edt1 @
#undef stc1
#define stc1 @
#undef lst1
#define lst1 @
#undef cmb1
#define cmb1 @
#undef scr1
#define scr1 @
#undef frm1
#define frm1 @
#undef ctl1
#define ctl1 @
#undef ico1
#define ico1 @
#undef s_addr
#define s_addr @
#undef s_host
#define s_host @
#undef s_net
#define s_net @
#undef h_addr
#define h_addr @
#undef environ
#define environ @
#undef uuid_t
#define uuid_t @
#undef DOMAIN
#define DOMAIN @
#undef SING
#define SING @
#undef OVERFLOW
#define OVERFLOW @
#undef UNDERFLOW
#define UNDERFLOW @
#undef PLOSS
#define PLOSS @
#undef TLOSS
#define TLOSS @

/* Qt */
#undef signals
#define signals @
#undef slots
#define slots @
#undef emit
#define emit @
#undef foreach
#define foreach @
#undef forever
#define forever @

/* X11 */
#undef None
#define None @
#undef Bool
#define Bool @
#undef Status
#define Status @
#undef True
#define True @
#undef False
#define False @
#undef Success
#define Success @
#undef Always
#define Always @
#undef Above
#define Above @
#undef Below
#define Below @
#undef Complex
#define Complex @
#undef Convex
#define Convex @
#undef Nonconvex
#define Nonconvex @
#undef CurrentTime
#define CurrentTime @
#undef CursorShape
#define CursorShape @
#undef Expose
#define Expose @
#undef FocusIn
#define FocusIn @
#undef FocusOut
#define FocusOut @
#undef GrayScale
#define GrayScale @
#undef KeyPress
#define KeyPress @
#undef KeyRelease
#define KeyRelease @
#undef Unsorted
#define Unsorted @
#undef YSorted
#define YSorted @
#undef XSorted
#define XSorted @
#undef AllPlanes
#define AllPlanes @
#undef Button1
#define Button1 @
#undef Button2
#define Button2 @
#undef ParentRelative
#define ParentRelative @
#undef DefaultDepth
#define DefaultDepth @
#undef Opposite
#define Opposite @
#undef GXcopy
#define GXcopy @

/* Arduino and its processors */
#undef HIGH
#define HIGH @
#undef LOW
#define LOW @
#undef INPUT
#define INPUT @
#undef OUTPUT
#define OUTPUT @
#undef DEFAULT
#define DEFAULT @
#undef INTERNAL
#define INTERNAL @
#undef EXTERNAL
#define EXTERNAL @
#undef CHANGE
#define CHANGE @
#undef FALLING
#define FALLING @
#undef RISING
#define RISING @
#undef SERIAL
#define SERIAL @
#undef DISPLAY
#define DISPLAY @
#undef PI
#define PI @
#undef HALF_PI
#define HALF_PI @
#undef TWO_PI
#define TWO_PI @
#undef EULER
#define EULER @
#undef DEG_TO_RAD
#define DEG_TO_RAD @
#undef RAD_TO_DEG
#define RAD_TO_DEG @
#undef LSBFIRST
#define LSBFIRST @
#undef MSBFIRST
#define MSBFIRST @
#undef B0
#define B0 @
#undef B1
#define B1 @
#undef B00
#define B00 @
#undef B01
#define B01 @
#undef B10
#define B10 @
#undef B11
#define B11 @
#undef SP
#define SP @
#undef SREG
#define SREG @
#undef PORTB
#define PORTB @
#undef PINB
#define PINB @
#undef DDRB
#define DDRB @
#undef ADC
#define ADC @
#undef A0
#define A0 @
#undef A1
#define A1 @
#undef A2
#define A2 @
#undef D0
#define D0 @
#undef D1
#define D1 @
#undef NULL_PIN
#define NULL_PIN @

/* glibc, BSD and old compilers */
#undef I
#define I @
#undef imaginary
#define imaginary @
#undef complex
#define complex @
#undef unix
#define unix @
#undef linux
#define linux @
#undef minor
#define minor @
#undef major
#define major @
#undef makedev
#define makedev @
#undef i386
#define i386 @
#undef sun
#define sun @
#undef mips
#define mips @
#undef hpux
#define hpux @
#undef vax
#define vax @
#undef arm
#define arm @
#undef vector
#define vector @
#undef sa_handler
#define sa_handler @
#undef sa_sigaction
#define sa_sigaction @
#undef si_value
#define si_value @
#undef si_pid
#define si_pid @
#undef d_fileno
#define d_fileno @
#undef howmany
#define howmany @
#undef NBBY
#define NBBY @
#undef sigmask
#define sigmask @
#undef quad_t
#define quad_t @
#undef bcopy
#define bcopy @
#undef bzero
#define bzero @
#undef bcmp
#define bcmp @
#undef strdupa
#define strdupa @
#undef alloca
#define alloca @
#undef basename
#define basename @
#undef noreturn
#define noreturn @
#undef alignas
#define alignas @
#undef alignof
#define alignof @
#undef thread_local
#define thread_local @
#undef static_assert
#define static_assert @

/* curses and termios */
#undef OK
#define OK @
#undef ERR
#define ERR @
#undef TRUE
#define TRUE @
#undef FALSE
#define FALSE @
#undef stdscr
#define stdscr @
#undef COLS
#define COLS @
#undef LINES
#define LINES @
#undef ECHO
#define ECHO @
#undef B50
#define B50 @
#undef B110
#define B110 @
#undef CR0
#define CR0 @
#undef NL0
#define NL0 @
#undef TAB0
#define TAB0 @
#undef TAB1
#define TAB1 @
#undef FF0
#define FF0 @
#undef VT0
#define VT0 @
#undef BS0
#define BS0 @

/* Objective-C and Carbon */
#undef nil
#define nil @
#undef Nil
#define Nil @
#undef YES
#define YES @
#undef NO
#define NO @

/* Windows SDK: function-like */
#undef TEXT
#define TEXT(...) @
#undef RGB
#define RGB(...) @
#undef LOBYTE
#define LOBYTE(...) @
#undef HIBYTE
#define HIBYTE(...) @
#undef LOWORD
#define LOWORD(...) @
#undef HIWORD
#define HIWORD(...) @
#undef MAKEWORD
#define MAKEWORD(...) @

/* Arduino: function-like */
#undef F
#define F(...) @
#undef abs
#define abs(...) @
#undef bit
#define bit(...) @
#undef bitRead
#define bitRead(...) @
#undef bitSet
#define bitSet(...) @
#undef bitClear
#define bitClear(...) @
#undef bitWrite
#define bitWrite(...) @
#undef constrain
#define constrain(...) @
#undef degrees
#define degrees(...) @
#undef radians
#define radians(...) @
#undef highByte
#define highByte(...) @
#undef lowByte
#define lowByte(...) @
#undef interrupts
#define interrupts(...) @
#undef noInterrupts
#define noInterrupts(...) @
#undef round
#define round(...) @
#undef sq
#define sq(...) @
#undef word
#define word(...) @
#undef cli
#define cli(...) @
#undef sei
#define sei(...) @

/* sys/param.h, sys/cdefs.h: function-like */
#undef MIN
#define MIN(...) @
#undef MAX
#define MAX(...) @
#undef roundup
#define roundup(...) @
#undef rounddown
#define rounddown(...) @
#undef powerof2
#define powerof2(...) @
#undef setbit
#define setbit(...) @
#undef clrbit
#define clrbit(...) @
#undef isset
#define isset(...) @
#undef isclr
#define isclr(...) @

/* curses: function-like */
#undef addch
#define addch(...) @
#undef addstr
#define addstr(...) @
#undef attron
#define attron(...) @
#undef attroff
#define attroff(...) @
#undef attrset
#define attrset(...) @
#undef bkgd
#define bkgd(...) @
#undef border
#define border(...) @
#undef box
#define box(...) @
#undef clear
#define clear(...) @
#undef clrtobot
#define clrtobot(...) @
#undef delch
#define delch(...) @
#undef deleteln
#define deleteln(...) @
#undef erase
#define erase(...) @
#undef echochar
#define echochar(...) @
#undef flushinp
#define flushinp(...) @
#undef getch
#define getch(...) @
#undef getstr
#define getstr(...) @
#undef inch
#define inch(...) @
#undef insch
#define insch(...) @
#undef instr
#define instr(...) @
#undef insertln
#define insertln(...) @
#undef move
#define move(...) @
#undef printw
#define printw(...) @
#undef refresh
#define refresh(...) @
#undef scrl
#define scrl(...) @
#undef scroll
#define scroll(...) @
#undef setscrreg
#define setscrreg(...) @
#undef standout
#define standout(...) @
#undef timeout
#define timeout(...) @
#undef getyx
#define getyx(...) @
#undef touchline
#define touchline(...) @
#undef meta
#define meta(...) @
#undef keypad
#define keypad(...) @
#undef napms
#define napms(...) @
#undef filter
#define filter(...) @

/* tgmath.h: function-like */
#undef exp
#define exp(...) @
#undef exp2
#define exp2(...) @
#undef expm1
#define expm1(...) @
#undef log
#define log(...) @
#undef log2
#define log2(...) @
#undef log10
#define log10(...) @
#undef log1p
#define log1p(...) @
#undef pow
#define pow(...) @
#undef sqrt
#define sqrt(...) @
#undef cbrt
#define cbrt(...) @
#undef sin
#define sin(...) @
#undef cos
#define cos(...) @
#undef tan
#define tan(...) @
#undef tanh
#define tanh(...) @
#undef sinh
#define sinh(...) @
#undef cosh
#define cosh(...) @
#undef erf
#define erf(...) @
#undef fabs
#define fabs(...) @
#undef floor
#define floor(...) @
#undef ceil
#define ceil(...) @
#undef trunc
#define trunc(...) @
#undef rint
#define rint(...) @
#undef fmod
#define fmod(...) @
#undef fma
#define fma(...) @
#undef fmin
#define fmin(...) @
#undef fmax
#define fmax(...) @
#undef hypot
#define hypot(...) @
#undef ldexp
#define ldexp(...) @
#undef frexp
#define frexp(...) @
#undef carg
#define carg(...) @
#undef conj
#define conj(...) @
#undef creal
#define creal(...) @
#undef cimag
#define cimag(...) @
#undef scalbn
#define scalbn(...) @

/* test frameworks, AssertMacros.h: function-like */
#undef CHECK
#define CHECK(...) @
#undef TEST
#define TEST(...) @
#undef FAIL
#define FAIL(...) @
#undef SUCCEED
#define SUCCEED(...) @
#undef REQUIRE
#define REQUIRE(...) @
#undef SECTION
#define SECTION(...) @
#undef check
#define check(...) @
#undef verify
#define verify(...) @
#undef require
#define require(...) @

/* X11: function-like */
#undef DisplayWidth
#define DisplayWidth(...) @
#undef DefaultScreen
#define DefaultScreen(...) @
#undef RootWindow
#define RootWindow(...) @

/* iso646.h, stdbool.h: macros in C, keywords in C++ */
#ifndef __cplusplus
#undef and
#define and @
#undef and_eq
#define and_eq @
#undef bitand
#define bitand @
#undef bitor
#define bitor @
#undef compl
#define compl @
#undef not
#define not @
#undef not_eq
#define not_eq @
#undef or
#define or @
#undef or_eq
#define or_eq @
#undef xor
#define xor @
#undef xor_eq
#define xor_eq @
#undef bool
#define bool @
#undef true
#define true @
#undef false
#define false @
#endif

/* the Windows SDK without NOMINMAX */
#undef min
#undef max
#define min(a, b) @
#define max(a, b) @
