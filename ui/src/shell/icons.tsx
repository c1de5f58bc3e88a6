import type { ReactNode } from 'react';

const icon = (body: ReactNode) => (
  <svg width="18" height="18" viewBox="0 0 24 24" fill="none" stroke="currentColor" strokeWidth="1.8" strokeLinecap="round" strokeLinejoin="round" aria-hidden="true">{body}</svg>
);

export const icons = {
  incidents: icon(<><path d="M12 3 2.5 20h19z" /><path d="M12 10v4.500M12 17.200v.1" /></>),
  events: icon(<><circle cx="10.5" cy="10.5" r="6.5" /><path d="m20.5 20.5-5.3-5.300M8 10.500h5M8 8h5M8 13h3" /></>),
  inventory: icon(<><path d="M12 3 4 7v10l8 4 8-4V7z" /><path d="m4 7 8 4 8-4M12 11v10" /></>),
  approvals: icon(<><rect x="5" y="4" width="14" height="17" rx="2" /><path d="M9 4V2.500h6V4M8.5 13l2.5 2.500 4.500-5" /></>),
  playbooks: icon(<><rect x="9" y="3" width="6" height="4.5" rx="1" /><rect x="3" y="16" width="6" height="4.500" rx="1" /><rect x="15" y="16" width="6" height="4.500" rx="1" /><path d="M12 7.500V12M6 16v-4h12v4" /></>),
  gpus: icon(<><rect x="4" y="6" width="16" height="12" rx="1.5" /><circle cx="12" cy="12" r="3" /><path d="M7 18v2.500M12 18v2.500M17 18v2.500" /></>),
  threats: icon(<><path d="M12 3 4.5 6v5.500c0 4.500 3 8 7.500 9.500 4.500-1.500 7.500-5 7.500-9.500V6z" /><path d="M12 8.500v4M12 15.700v.1" /></>),
  fleet: icon(<><rect x="3" y="4" width="18" height="6.5" rx="1.5" /><rect x="3" y="13.5" width="18" height="6.5" rx="1.5" /><path d="M7 7.250h.1M7 16.750h.1" /></>),
  rules: icon(<><path d="M5 4h11l3 3v13H5z" /><path d="M8.5 10h7M8.5 13.500h7M8.5 17h4" /></>),
  dark: icon(<path d="M20 14.500A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.500z" />),
  light: icon(<><circle cx="12" cy="12" r="4" /><path d="M12 2.500v2M12 19.500v2M2.5 12h2M19.5 12h2M5.3 5.300l1.4 1.400M17.3 17.300l1.4 1.400M5.3 18.700l1.4-1.400M17.3 6.700l1.4-1.4" /></>),
  auto: icon(<><circle cx="12" cy="12" r="8.5" /><path d="M12 3.500v17a8.5 8.5 0 0 0 0-17z" fill="currentColor" /></>),
  help: icon(<><circle cx="12" cy="12" r="9" /><path d="M9.5 9.300a2.6 2.6 0 1 1 3.5 2.500c-.7.3-1 .8-1 1.700M12 16.800v.1" /></>),
  logo: (
    <svg width="24" height="24" viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="7" fill="#0b7285" />
      <path fill="#fff" d="M7 26V11l2.5-4L12 11v15zM13.5 26V9L16 5l2.5 4v17zM20 26V11l2.5-4L25 11v15zM5 15h22v2H5zm0 6h22v2H5z" />
    </svg>
  ),
};
