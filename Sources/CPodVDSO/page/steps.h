// The page's steps on the tables, for the tests' schedule explorer.
#ifndef POD_PAGE_STEPS_H
#define POD_PAGE_STEPS_H

enum pod_page_step {
  POD_PAGE_LOOK_UP = 1,    // virtual → entry
  POD_PAGE_VIRTUALIZE = 2, // physical → entry
  POD_PAGE_CLAIM = 3,      // the look-up of the process itself is marked as under way
  POD_PAGE_CHECK = 4,      // what was found is compared with what holds now
  POD_PAGE_WAIT = 5,       // a child is looked at, or reaped
};

#endif
