/* folder.h - folders and the process's number, under one name on every system. */
#if defined(_WIN32)
#include <direct.h>
#include <process.h>
#define make_directory(path) _mkdir(path)
#define remove_directory(path) _rmdir(path)
#define go_to_directory(path) _chdir(path)
#define process_number() ((long)_getpid())
#else
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>
#define make_directory(path) mkdir(path, 0777)
#define remove_directory(path) rmdir(path)
#define go_to_directory(path) chdir(path)
#if defined(__wasi__) && !defined(_WASI_EMULATED_GETPID)
#include <time.h>
#define process_number() ((long)time(NULL))
#else
#define process_number() ((long)getpid())
#endif
#endif
